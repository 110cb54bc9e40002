"""Whole runs of ResNet-20 on CIFAR-10: seconds and top-1 of `convsmith train` beside timm's `train.py`.

    .venv/bin/python benchmarks/time_to_accuracy.py CIFAR10 --timm CHECKOUT [--images 10000] [--epochs 6] [--seeds 1]

CIFAR10 holds train/CLASS/* and val/CLASS/*; CHECKOUT is timm's repository, whose `train.py` is not in its package. All
have the same model, images, batch and cores, and validate after each epoch. With equal steps they have the same
optimizer, rates and augmentation as far as both know it; "own recipe" is convsmith's in half as many epochs. The ways
take turns within a seed. A run is a process from its start to its end, its packed model included.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from spread import spread

from convsmith.training.run import Run

BATCH, RATE, DECAY = 128, 0.2, 5e-4
TRAIN_PY = """
import runpy, sys
from timm.models import register_model
import convsmith as cs

@register_model
def cifar_resnet20(pretrained=False, num_classes=10, **_):
    return cs.create_model("cifar_resnet20", num_classes=num_classes)

runpy.run_path(sys.argv[0], run_name="__main__")
"""
Way = Callable[[Path, Path, int, int], list[str]]


def by_timm(checkout: Path, *words: str) -> Way:
    """The command of timm's `train.py`."""

    def command(data: Path, out: Path, epochs: int, seed: int) -> list[str]:
        said = f"--data-dir {data} --train-split train --val-split val --output {out} --seed {seed} --device cpu "
        said += f"--model cifar_resnet20 --num-classes 10 --input-size 3 32 32 --batch-size {BATCH} --epochs {epochs} "
        said += f"--opt nesterov --lr {RATE} --momentum 0.9 --weight-decay {DECAY} --sched cosine --warmup-epochs 1 "
        said += "--warmup-lr 0.001 --min-lr 0 --scale 0.6 1.0 --ratio 0.9 1.1 --hflip 0.5 "
        said += "--color-jitter 0 --crop-pct 1 --train-interpolation bilinear --interpolation bilinear --workers 1"
        script = f"import sys; sys.argv = sys.argv[1:]; sys.path.insert(0, {str(checkout)!r}){TRAIN_PY}"
        return ["-c", script, str(checkout / "train.py"), *said.split(), *words]

    return command


def by_convsmith(*words: str, share: float = 1) -> Way:
    """The command of convsmith, of a share of the epochs."""

    def command(data: Path, out: Path, epochs: int, seed: int) -> list[str]:
        said = [
            f"schedule.epochs={round(share * epochs)}",
            f"seed={seed}",
            "eval_every=1",
            f"batch.size={BATCH}",
            *words,
        ]
        recipe = "cifar_resnet20-cifar10-short"
        return ["-m", "convsmith", "train", recipe, "--data", str(data), "--out", str(out / "run"), *said, *words]

    return command


SAME = (
    f"optimizer.lr={RATE}",
    f"optimizer.weight_decay={DECAY}",
    "augment={random_resized_crop: {size: 32, scale: [0.6, 1.0], ratio: [0.9, 1.1]}, hflip: 0.5, random_crop: null}",
)


def top1(out: Path) -> float:
    """The last top-1, in percent, that either left in its folder."""
    summaries = list(out.rglob("summary.csv"))
    if summaries:
        return float(list(csv.DictReader(summaries[0].open()))[-1]["eval_top1"])
    return 100 * float(next(line["top1"] for line in reversed(Run(out / "run").metrics) if "top1" in line))


def part_of(data: Path, images: int, place: Path) -> Path:
    """A folder of so many training images, as many of each class, and all validation images."""
    classes = sorted(folder.name for folder in (data / "train").iterdir())
    for part, limit in (("train", images // len(classes)), ("val", None)):
        for name in classes:
            (place / part / name).mkdir(parents=True)
            for file in sorted((data / part / name).iterdir())[:limit]:
                (place / part / name / file.name).symlink_to(file.resolve())
    return place


def main() -> None:
    """Run all in turn, and print seconds and top-1 of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--timm", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    ways: dict[str, Way] = {
        "timm, bf16 channels-last": by_timm(options.timm, "--amp", "--amp-dtype", "bfloat16", "--channels-last"),
        "convsmith, equal steps": by_convsmith(*SAME),
        "convsmith, own recipe, half the epochs": by_convsmith(share=0.5),
        "timm, its default float32": by_timm(options.timm),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        data = part_of(options.data, options.images, Path(folder) / "data")
        for seed in range(options.seeds):
            for number, (name, way) in enumerate(ways.items()):
                out = Path(folder) / f"{seed}-{number}"
                out.mkdir()
                with (out / "printed").open("w") as printed:
                    begin = time.perf_counter()
                    words = [sys.executable, *way(data, out, options.epochs, seed)]
                    code = subprocess.run(words, stdout=printed, stderr=subprocess.STDOUT, env=os.environ).returncode
                    seconds = time.perf_counter() - begin
                if code:
                    sys.exit(f"{name} ended with exit code {code}:\n{(out / 'printed').read_text()[-2000:]}")
                found[name].append((seconds, top1(out)))
                print(f"{name}, seed {seed}: {seconds:.0f} s, {found[name][-1][1]:.2f} %", file=sys.stderr, flush=True)
    first = next(iter(found.values()))
    print("| way | seconds | to timm's | top-1, % |\n|---|---|---|---|")
    for name, each in found.items():
        ratio = spread([mine[0] / theirs[0] for mine, theirs in zip(each, first, strict=True)], 2)
        print(f"| {name} | {spread([it[0] for it in each])} | {ratio} | {spread([it[1] for it in each], 1)} |")


if __name__ == "__main__":
    main()
