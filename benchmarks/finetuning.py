"""Fine-tuning against training from scratch on five classes of CIFAR-10, by the recipes' own settings.

    .venv/bin/python benchmarks/finetuning.py CIFAR10 OUT [--backbones NAME ...] [--images N ...] [--table]

CIFAR10 has train/CLASS/* and val/CLASS/*. A donor learns the first five classes from random weights; each backbone then
learns from N images of each of the other five: by its recipe from the donor (`fine-tuned`), with two epochs of the head
alone before (`head first`), the head alone to the end (`head only`), and as the chooser trains without weights, for as
many epochs (`scratch`). Recipes are those that the chooser takes for so many images; only resolution, weights and the
epochs in EPOCHS are not theirs. It takes the steps of a training, without checkpoints and bundles. Figures are those of
the last epoch on all 2,500 validation images of the five classes: their standard error is 0.7 to 1 points, and that of
which images are drawn comes on top.

Each result is a line of OUT/results.jsonl as soon as it is there: a run that is stopped goes on, what is finished is
not done again. `--table` only prints what there is.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from convsmith.analyze.recipe_table import PHOTOS, row_for
from convsmith.models.base import VisionModel
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe
from convsmith.recipe.stretch import stretch
from convsmith.training.log_file import silence
from convsmith.training.prepare import prepare_training, stepper_at_start
from convsmith.training.validation import validate

SIDE = 32  # pixels, as the images have
BACKBONES = ("mobilenet", "resnet50", "convnext_tiny")
STAGES = ((5, 20, 100), (1000,), (5000,))
"""Images of each class, what takes long last."""

EPOCHS = {
    "mobilenet": {1000: 6, 5000: 3},
    "resnet50": {1000: 6, 5000: 1},
    "convnext_tiny": {1000: 6, 5000: 1},
}
"""Instead of the recipe's, for so many images of each class."""

DONOR_EPOCHS = {"mobilenet": 10, "resnet50": 8, "convnext_tiny": 5}  # each of 10,000 images
ARMS = ("scratch", "head only", "head first", "fine-tuned")
SCRATCH = {"convnext_tiny": ("optimizer.name=adamw", "optimizer.lr=5e-4", "optimizer.weight_decay=0.05")}


def folder_of(data: Path, out: Path, part: str, images: int | None) -> Path:
    """Five classes, so many training images of each, and all validation images."""
    made = out / "data" / f"{part}-{images or 'all'}"
    classes = sorted(folder.name for folder in (data / "train").iterdir())
    for split, limit in (("train", images), ("val", None)):
        for name in classes[:5] if part == "donor" else classes[5:]:
            target = made / split / name
            target.mkdir(parents=True, exist_ok=True)
            for file in sorted((data / split / name).iterdir())[:limit]:
                if not (target / file.name).exists():
                    (target / file.name).symlink_to(file.resolve())
    return made


def train(data: Path, recipe: Recipe, weights: Path | None = None) -> float:
    """Take all steps of a training; top-1 in percent after the last one.

    Args:
        data: the images.
        recipe: what to train.
        weights: where to keep those of the backbone that was judged.
    """
    with TemporaryDirectory() as folder:
        with silence():
            recipe, dataset, plan = prepare_training(recipe, data)
            stepper = stepper_at_start(recipe, plan, dataset, Path(folder))
        while stepper.session.progress.step < plan.total_steps:
            stepper.advance()
        validated = validate(stepper.session, stepper.parts, stepper)
    assert validated is not None
    if weights is not None:
        judged = stepper.ema.model if stepper.ema else stepper.parts.model
        assert isinstance(stepper.parts.model, VisionModel)
        head = stepper.parts.model.head_prefixes  # of other classes, though of as many
        own = judged.state_dict().items()  # in which a model of another library has its own names
        state = {name: value for name, value in own if not (name.startswith(head) or f"model.{name}".startswith(head))}
        torch.save(state, weights.with_suffix(".part"))
        weights.with_suffix(".part").replace(weights)
    del stepper
    gc.collect()
    return 100 * validated.figures["top1"]


def at_side(backbone: str) -> list[str]:
    """Words for small images, with as much around the square as the backbone's recipe has."""
    rule = load_recipe(f"finetune-{backbone}").preprocess
    resize = round(SIDE * rule.resize / rule.crop)  # type: ignore[union-attr]  # it looks at squares
    sizes = [f"augment.random_resized_crop.size={SIDE}", f"preprocess.crop={SIDE}", f"preprocess.resize={resize}"]
    return [*sizes, "data.workers=0"]


def from_scratch(backbone: str, images: int) -> tuple[str, list[str]]:
    """Recipe and words by which the chooser trains so many images without weights, for this backbone."""
    recipe, *words = row_for(PHOTOS, images).scratch.split()
    model = load_recipe(f"finetune-{backbone}").model
    words += [f"model.name={model.name}", f"model.options={json.dumps(model.options)}"]
    if model.batch_norm_momentum:
        words.append(f"model.batch_norm_momentum={model.batch_norm_momentum}")
    return recipe, [*words, *at_side(backbone), *SCRATCH.get(backbone, ())]


def settings(backbone: str, images: int, arm: str, weights: Path) -> tuple[str, list[str]]:
    """Recipe and words of one result: those that the chooser takes for five times so many images."""
    row = row_for(PHOTOS, 5 * images)
    recipe, *words = next(it for it in (*row.cpu, *row.gpu) if it.startswith(f"finetune-{backbone}")).split()
    epochs = EPOCHS[backbone].get(images, load_recipe(recipe, words).schedule.epochs)
    if arm == "scratch":
        recipe, words = from_scratch(backbone, 5 * images)
    else:
        words += [f"model.weights={weights}", *at_side(backbone)]
    if arm.startswith("head"):
        words.append(f"freeze={{names: backbone, epochs: {2 if arm == 'head first' else 'null'}}}")
    return recipe, [*words, *stretch(load_recipe(recipe, words), epochs)]


def results(file: Path) -> list[dict[str, Any]]:
    """All that was measured."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def wanted(backbones: list[str], sizes: list[int]) -> Iterator[tuple[str, int, str]]:
    """Backbone, images of each class and arm of each result, the cheap ones first."""
    for stage in STAGES:
        for backbone in backbones:
            for images in sorted(set(stage) & set(sizes)):
                for arm in ARMS if images < 1000 else ("scratch", "fine-tuned"):
                    yield backbone, images, arm


def measure(data: Path, out: Path, backbones: list[str], sizes: list[int]) -> None:
    """Add what is missing to the file of results."""
    file = out / "results.jsonl"
    for backbone, images, arm in wanted(backbones, sizes):
        weights = (out / f"donor-{backbone}.pth").resolve()
        recipe, words = settings(backbone, images, arm, weights)
        checked = load_recipe(recipe, words)
        said = hashlib.sha256(checked.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:16]
        key = {"backbone": backbone, "images": images, "arm": arm, "said": said}
        if key in [it["key"] for it in results(file)]:
            continue
        if arm != "scratch" and not weights.exists():
            own, changes = from_scratch(backbone, 25_000)
            changes += ["sampling.fraction=0.4", f"schedule.epochs={DONOR_EPOCHS[backbone]}"]
            top1 = train(folder_of(data, out, "donor", None), load_recipe(own, changes), weights)
            print(f"donor {backbone}: {top1:.2f} % of its own five classes", flush=True)
        begin = time.monotonic()
        top1 = train(folder_of(data, out, "new", images), checked)
        line = {
            "key": key,
            "top1": top1,
            "seconds": round(time.monotonic() - begin, 1),
            "recipe": recipe,
            "words": words,
        }
        with file.open("a") as opened:
            opened.write(json.dumps(line) + "\n")
        print(f"{backbone} {images} {arm}: {top1:.2f} % ({line['seconds']} s)", flush=True)


def print_table(out: Path) -> None:
    """A row for each backbone and arm, a column for each number of images; the newest result counts."""
    parts = ("backbone", "arm", "images")
    found = {tuple(it["key"][part] for part in parts): it["top1"] for it in results(out / "results.jsonl")}
    sizes = [images for stage in STAGES for images in stage]
    print("| backbone | start | " + " | ".join(f"{images:,}" for images in sizes) + " |")
    print("|---|---|" + "--:|" * len(sizes))
    for backbone in BACKBONES:
        for arm in ARMS:
            row = [found.get((backbone, arm, images)) for images in sizes]
            if any(row):
                cells = " | ".join("" if top1 is None else f"{top1:.1f}" for top1 in row)
                print(f"| `finetune-{backbone}` | {arm} | {cells} |")


def main() -> None:
    """Measure what is missing, then print the table."""
    sizes = [images for stage in STAGES for images in stage]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--backbones", nargs="*", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--images", nargs="*", type=int, choices=sizes, default=sizes)
    parser.add_argument("--table", action="store_true", help="print what there is, and measure nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.table:
        measure(options.data, options.out, options.backbones, options.images)
    print_table(options.out)


if __name__ == "__main__":
    main()
