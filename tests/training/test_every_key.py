"""Every key of a recipe acts, or is refused: none is left without an effect in silence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path

import pytest
import torch

from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe
from tests.data.folders import write_noise
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training.key_effects import effects, keys_of, other_values
from tests.training.scenes import RECIPE, write_scenes
from tests.training.tiny_model import TinyNet, name_tiny

CLASSES = """\
description: four digits
source: the tests
model: {name: tiny}
data: {workers: 0}
augment:
  random_crop: {size: 16}
preprocess: {resize: 18, crop: 16}
batch: {size: 8, per_device: 4}
optimizer: {name: sgd, lr: 0.1}
schedule: {epochs: 2}
precision: fp32
compile: false
"""
MASKS = RECIPE.replace("epochs: 4", "epochs: 2").replace("ema: {decay: 0.5}\n", "") + "compile: false\n"

LABELS = f"{CLASSES}task: multilabel\n"
DATA = {"classes": "classes", "masks": "masks", "labels": "labels.csv"}

SCHEDULES = ("cosine", "poly", "step", "multi_step", "exponential", "constant")

# What makes a section one of a kind, or be there at all.
CONTEXT = {
    "model.drop_path": "model.drop_path={start: 0.2, end: 0.5}",
    "model.drop_block": "model.drop_block={start: 0.2, end: 0.5}",
    "augment.random_resized_crop": "augment={random_crop: null, random_resized_crop: {size: 16}}",
    "augment.efficientnet_crop": "augment={random_crop: null, efficientnet_crop: {size: 16}}",
    "augment.color_jitter": "augment.color_jitter={brightness: 0.5, contrast: 0.3}",
    "augment.random_erasing": "augment.random_erasing={probability: 0.5}",
    "preprocess[whole].window": "preprocess.window={size: [12, 12]}",
    **{f"schedule[{kind}].extra": "schedule.extra={epochs: 1, lr: 0.05}" for kind in SCHEDULES},
    "schedule[multi_step]": "schedule.milestones=[1]",
    "mixing": "mixing={mixup_alpha: 0.3}",
    "freeze": "freeze={names: [conv1.*]}",
    "ema": "ema={decay: 0.5}",
    "distillation": "distillation={teacher: {model: tiny, weights: TEACHER}}",
}

# Keys that act beside others only, which have to be there; alone they have to be refused.
COMPANIONS = {
    "preprocess[whole].warp": ["preprocess.base_size=24"],
    "preprocess[whole].align_corners": ["preprocess.scales=[0.7, 1]"],
    "preprocess[whole].mirrored_classes": ["preprocess.flip=true"],
    "preprocess[whole].window.above_scale": ["preprocess.scales=[0.4, 1]"],
    "optimizer.lr_batch": ["optimizer.lr_scaling=linear"],
    "optimizer.weight_decay_end": ["optimizer.weight_decay=0.1"],
    "schedule.warmup": ["schedule.warmup_epochs=1", "schedule.warmup_lr=0.01"],
    "schedule.warmup_lr": ["schedule.warmup_epochs=1"],
    "schedule.warmup_reaches_lr": ["schedule.warmup_epochs=1"],
    "schedule[constant].by": ["schedule.warmup_epochs=1.5"],
    "schedule[constant].shift": ["schedule.warmup_epochs=1"],
    "loss[binary_cross_entropy].threshold": ["loss.label_smoothing=0.9"],
    "sampling[balanced].beta": ["sampling.weights=effective_number"],
    "mixing.switch_probability": ["mixing.cutmix_alpha=1"],
    "ema.gamma": ["ema.warmup=power"],
    "ema.power": ["ema.warmup=power"],
    "distillation.similarity_weight": ["distillation.kind=features"],
    "model.weights_key": ["model.weights=TEACHER"],
    "data.masks.extra": ["schedule.extra={epochs: 1, lr: 0.05}"],
}

# Words for keys whose other values cannot be made up from their type, or would not show.
WORDS = {
    "model.name": ["resnet18", "resnet18_upernet"],
    "model.options": ["{drop_path: 0.5}", "{features: 8}"],
    "model.weights": ["TEACHER"],
    "model.weights_key": ["model_ema"],
    "augment.custom": ["tests.data.own_transforms:inverted"],
    "augment.random_resized_crop.size": ["12"],
    "augment.efficientnet_crop.size": ["12"],
    "augment.random_crop.size": ["12"],
    "preprocess[resize_then_crop].crop": ["12"],
    "preprocess[resize_then_crop].resize": ["24"],
    "data.masks.images": ["masks/PART/*"],
    "data.masks.masks": ["images/PART/*"],
    "data.masks.train": ["extra.lst"],
    "data.masks.val": ["extra.lst"],
    "data.masks.extra": ["extra.lst"],
    "data.masks.ignore_index": ["254"],
    "data.masks.label_map": ["[[0, 0], [1, 2], [2, 1]]"],
    "data.masks.classes": ["[a, b, c]"],
    "data.masks.colours": ["[[0, 0, 0], [1, 1, 1], [2, 2, 2]]"],
    "augment.random_resized_crop.scale": ["[0.5, 0.6]"],
    "augment.random_resized_crop.ratio": ["[1, 1.1]"],
    "augment.efficientnet_crop.area": ["[0.5, 0.6]"],
    "augment.efficientnet_crop.ratio": ["[1, 1.1]"],
    "augment.random_scale_crop.size": ["[12, 12]"],
    "augment.random_scale_crop.scale": ["[1, 1]"],
    "augment.random_erasing.scale": ["[0.5, 0.6]"],
    "augment.random_erasing.ratio": ["[1, 1.1]"],
    "preprocess[resize_then_crop].mean": ["[0.1, 0.2, 0.3]"],
    "preprocess[resize_then_crop].std": ["[0.1, 0.2, 0.3]"],
    "preprocess[resize_then_crop].range": ["[0, 127]"],
    "preprocess[whole].range": ["[0, 127]"],
    "preprocess[whole].mean": ["[0.1, 0.2, 0.3]"],
    "preprocess[whole].std": ["[0.1, 0.2, 0.3]"],
    "preprocess[whole].scales": ["[0.5]"],
    "preprocess[whole].mirrored_classes": ["[[1, 2]]"],
    "preprocess[whole].window.size": ["[9, 9]"],
    "preprocess[whole].window.stride": ["[3, 3]"],
    "optimizer.weight_decays": ["[['*', 0.3]]"],
    "optimizer.lr_scales": ["[['*', 0.3]]"],
    "optimizer.betas": ["[0.5, 0.6]"],
    "schedule[multi_step].milestones": ["[1.5]"],
    "schedule[step].gamma": ["0.5"],
    "loss.output_weights": ["[1, 1]"],
    "freeze.names": ["[layer1.*]", "[conv2.*]"],
    "freeze.epochs": ["1"],
    "distillation.teacher.options": ["{drop_path: 0.5}"],
}
# Such as a schedule that falls twice where the usual one does not fall at all.
ROOM = {
    "schedule[step].by": ["schedule.every_epochs=0.5"],
    "schedule[step].shift": ["schedule.every_epochs=1"],
    "schedule[step].gamma": ["schedule.every_epochs=1"],
    "schedule[multi_step].by": ["schedule.milestones=[0.5]"],
    "schedule[multi_step].shift": ["schedule.milestones=[1]"],
}
# Keys that act on something else than these figures, and the tests that hold what they do.
ELSEWHERE = {
    "description": "tests/recipe/test_library.py",
    "source": "tests/recipe/test_library.py",
    "task": "tests/recipe/test_task_fit.py",
    "model.num_classes": "tests/training/test_train.py",
    "model.sync_batch_norm": "tests/training/test_tricks.py",
    "data.channels": "tests/training/test_train_channels.py",
    "data.val_fraction": "tests/data/test_mask_search.py",
    "data.fold": "tests/data/test_folds.py",
    "data.folds": "tests/data/test_folds.py",
    "data.columns.image": "tests/data/test_table_columns.py",
    "data.columns.label": "tests/data/test_table_columns.py",
    "data.columns.labels": "tests/data/test_table_columns.py",
    "data.columns.mask": "tests/data/test_table_columns.py",
    "data.columns.split": "tests/data/test_table_columns.py",
    "data.columns.group": "tests/data/test_table_columns.py",
    "data.columns.weight": "tests/data/test_table_columns.py",
    "data.pattern": "tests/data/test_pattern.py",
    "data.decode": "tests/training/test_decode_key.py",
    "data.cache": "tests/training/test_interrupted.py",
    "data.cache_size": "tests/training/test_interrupted.py",
    "data.window": "tests/training/test_train_on_a_source.py",
    "data.masks.images_dir": "tests/data/test_mask_keys.py",
    "data.masks.masks_dir": "tests/data/test_mask_keys.py",
    "data.masks.mask_suffix": "tests/data/test_mask_keys.py",
    "data.masks.unseen_classes": "tests/training/test_data_findings.py",
    "data.root": "tests/data/test_table_columns.py",
    "data.on_error": "tests/training/test_bad_files.py",
    "data.max_bad": "tests/training/test_bad_files.py",
    "data.max_pixels": "tests/bundle/test_decode_damage.py",
    "data.read_timeout": "tests/data/test_open_data.py",
    "data.workers": "tests/data/test_loader.py",
    "data.masks.layout": "tests/data/test_mask_layouts.py",
    "data.masks.others": "tests/data/test_mask_contents.py",
    "distillation.teacher.bundle": "tests/tasks/test_teacher.py",
    "distillation.teacher.model": "tests/tasks/test_teacher.py",
    "distillation.teacher.weights": "tests/tasks/test_teacher.py",
    "ema.judge": "tests/training/test_features.py",
    "quantization_aware.target": "tests/training/test_int8.py",
    "eval": "tests/training/test_trainer.py",
    "eval_every": "tests/training/test_train_segmentation.py",
    "metric": "tests/training/test_trainer.py",
    "metrics": "tests/training/test_further_figures.py",
    "on_divergence": "tests/training/test_divergence.py",
    "precision": "tests/training/test_precision.py",
    "eval_precision": "tests/training/test_eval_precision.py",
    "compile": "tests/training/test_compilation.py",
    "channels_last": "tests/training/test_writer.py",
    "early_stopping.patience": "tests/training/test_trainer.py",
    "early_stopping.min_delta": "tests/training/test_trainer.py",
    "bundle.embeddings": "tests/training/test_embeddings.py",
    "checkpoint.every_steps": "tests/training/test_train.py",
    "checkpoint.every_minutes": "tests/training/test_trainer.py",
    "checkpoint.keep": "tests/training/test_writer.py",
}
ALL = dict(keys_of())


@dataclass
class Bench:
    """Data and a recipe for each task, and the digests of what has been tried."""

    folder: Path
    done: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    def differ(self, task: str, without: Sequence[str], word: str) -> bool:
        """Whether one word more changes anything; the digests are compared one after another, as far as it takes."""
        pairs = zip(self._effects(task, without), self._effects(task, [*without, word]), strict=True)
        return any(one != other for one, other in pairs)

    def recipe(self, task: str, words: Sequence[str]) -> Recipe:
        words = [word.replace("TEACHER", str(self.folder / "teacher.pth")) for word in words]
        return load_recipe(self.folder / f"{task}.yaml", words)

    def _effects(self, task: str, words: Sequence[str]) -> Iterator[str]:
        known = self.done.setdefault((task, *words), [])
        yield from known
        recipe = self.recipe(task, words)
        for digest in islice(effects(recipe, self.folder / DATA[task], self.folder), len(known), None):
            known.append(digest)
            yield digest


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("keys")
    write_noise(folder / "classes", 27, classes=4, size=(24, 20))
    for path in list((folder / "classes/train/c0").iterdir())[:2]:
        path.unlink()  # classes of unequal size
    write_scenes(folder / "masks")
    files = sorted(path.relative_to(folder) for path in folder.glob("classes/*/*/*.png"))
    rows = [f"{path},{path.parts[2]}|c{i % 4},{path.parts[1]}" for i, path in enumerate(files)]
    (folder / "labels.csv").write_text("\n".join(["image,labels,split", *rows]) + "\n")
    for task, text in (("classes", CLASSES), ("masks", MASKS), ("labels", LABELS)):
        (folder / f"{task}.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        name_tiny(patch)
        name_tiny_segmenter(patch)
        torch.manual_seed(1)
        torch.save(TinyNet(4).state_dict(), folder / "teacher.pth")
        yield Bench(folder)


def context_of(path: str) -> list[str]:
    """What has to be said before a key can be."""
    words = []
    for match in re.finditer(r"\[(\w+)\]", path):
        section = plain(path[: match.start()])
        words.append(f"{section}.{'method' if section == 'preprocess' else 'name'}={match[1]}")
    return words + [word for section, word in CONTEXT.items() if path.startswith(f"{section}.")]


def plain(path: str) -> str:
    """The path without the kinds of sections."""
    return re.sub(r"\[\w+\]", "", path)


def said_of(table: Mapping[str, list[str]], path: str) -> list[str] | None:
    return table.get(path, table.get(plain(path)))


def words_for(path: str) -> list[str]:
    values = said_of(WORDS, path)
    if values is None:
        values = [str(value).lower() for value in other_values(ALL[path])]
    return [f"{plain(path)}={value}" for value in values]


def act(bench: Bench, path: str, companions: Sequence[str]) -> list[str]:
    """What each word for a key does, for each task: `acts`, `nothing`, or why the recipe is refused.

    Data or weights that can no longer be read are an effect, too.
    """
    found = []
    for task, word in product(DATA, words_for(path)):
        without = [*context_of(path), *companions]
        try:
            bench.recipe(task, without)
        except ConvsmithError:
            continue  # not of this task
        try:
            bench.recipe(task, [*without, word])
        except ConvsmithError as error:
            found.append(str(error))
            continue
        try:
            found.append("acts" if bench.differ(task, without, word) else f"nothing: {word}")
        except ConvsmithError:
            found.append("acts")
        if found[-1] == "acts":
            break
    return found


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in ALL if plain(path) not in ELSEWHERE])
def test_a_key_acts_and_is_refused_where_it_cannot(bench: Bench, path: str) -> None:
    companions = said_of(COMPANIONS, path) or []
    room = said_of(ROOM, path) or []
    assert "acts" in act(bench, path, [*companions, *room])
    if companions:
        alone = act(bench, path, room)
        assert alone
        assert not [it for it in alone if it.startswith("nothing")]


@pytest.mark.parametrize(("path", "test"), ELSEWHERE.items())
def test_a_key_that_acts_elsewhere_is_tested_there(path: str, test: str) -> None:
    assert path in map(plain, ALL)
    assert re.search(
        path.rpartition(".")[2].replace("sync_batch_norm", "synchronise_batch_norm"), Path(test).read_text()
    )
