"""Gains of distillation, balanced sampling and fine-tuning on CIFAR-10, by the real command.

    .venv/bin/python benchmarks/cifar10_tricks.py CIFAR10 OUT [PART ...] [--teacher WORD ...]

CIFAR10 has train/CLASS/* and val/CLASS/*. Parts: distilled, imbalanced, finetuned; all of them unless some are named.
Runs are kept in OUT: what is stopped goes on, what is finished is not done again. Figures are those of the last epoch
on the whole validation set. The words after --teacher change its recipe, such as schedule.epochs=10. The ladder of
tricks is `convsmith ablate cifar10`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from convsmith.training.run import Run

STUDENT = "cifar10-ladder-05-ema"
PARTS = ("distilled", "imbalanced", "finetuned")


def train(data: Path, out: Path, recipe: str, *words: str) -> Path:
    """Train one recipe into `out`, unless that is done already."""
    command = [sys.executable, "-m", "convsmith.cli.main", "train", recipe, "--data", str(data), "--out", str(out)]
    print(" ".join([recipe, *words]), file=sys.stderr, flush=True)
    subprocess.run([*command, *words], check=True, stdout=subprocess.DEVNULL)
    return out


def print_table(first: str, runs: Iterable[tuple[str, Path]], metric: str = "top1") -> None:
    """A row for each run: the metric after its last epoch in percent, and what it gained."""
    print(f"\n| {first} | {metric} | to the row before | to the first | images/s |\n|---|--:|--:|--:|--:|")
    base = before = None
    for name, path in runs:
        lines = list(Run(path).metrics)
        value = 100 * float([line for line in lines if line["split"] == "val"][-1][metric])
        speeds = sorted(float(line["images_per_second"]) for line in lines if line["split"] == "train")
        gains = ("", "") if base is None or before is None else (f"{value - before:+.2f}", f"{value - base:+.2f}")
        print(f"| {name} | {value:.2f} | {gains[0]} | {gains[1]} | {speeds[len(speeds) // 2]:.0f} |", flush=True)
        base, before = value if base is None else base, value


def distilled(data: Path, out: Path, teacher_words: list[str]) -> None:
    """A student alone and the same student with a teacher, and the teacher."""
    teacher = train(data, out / "cifar10-teacher", "cifar10-teacher", *teacher_words)
    bundle = f"distillation.teacher={{bundle: {teacher / 'bundle'}, model: null, weights: null}}"
    alone = train(data, out / "student-alone", "cifar10-distilled", "distillation=null")
    taught = train(data, out / "student-taught", "cifar10-distilled", bundle)
    print_table("model", [("student alone", alone), ("student taught", taught), ("teacher", teacher)])


def imbalanced(data: Path, out: Path) -> None:
    """Balanced accuracy on classes of 2,500 down to 50 images, with and without the balanced sampler."""
    unequal = out / "imbalanced-data"
    classes = sorted(folder.name for folder in (data / "train").iterdir())
    for rank, name in enumerate(classes):
        folder = unequal / "train" / name
        folder.mkdir(parents=True, exist_ok=True)
        files = sorted((data / "train" / name).iterdir())
        for file in files[: round(2500 * 50 ** (-rank / (len(classes) - 1)))]:
            if not (folder / file.name).exists():
                (folder / file.name).symlink_to(file.resolve())
    if not (unequal / "val").exists():
        (unequal / "val").symlink_to((data / "val").resolve())
    words = ("sampling.fraction=1", "schedule.epochs=20")
    plain = train(unequal, out / "imbalanced-plain", STUDENT, *words)
    balanced = train(unequal, out / "imbalanced-balanced", STUDENT, "sampling.name=balanced", *words)
    print_table("sampling", [("plain", plain), ("balanced", balanced)], "balanced_accuracy")


def finetuned(data: Path, out: Path) -> None:
    """50 images of each of five classes, from random weights and from a network that learned the other five."""
    classes = sorted(folder.name for folder in (data / "train").iterdir())
    parts = {"known": (classes[:5], None), "new": (classes[5:], 50)}
    for part, (names, limit) in parts.items():
        for split in ("train", "val"):
            for name in names:
                folder = out / f"{part}-data" / split / name
                folder.mkdir(parents=True, exist_ok=True)
                files = sorted((data / split / name).iterdir())
                for file in files[: limit if split == "train" else None]:
                    if not (folder / file.name).exists():
                        (folder / file.name).symlink_to(file.resolve())
    backbone = train(out / "known-data", out / "known", STUDENT, "model.num_classes=5", "sampling.fraction=0.4")
    words = [
        "model.name=cifar_resnet20",
        "preprocess.resize=32",
        "preprocess.crop=32",
        "augment.random_resized_crop=null",
        "augment.random_crop={size: 32, padding: 4}",
    ]
    weights = backbone / "checkpoints" / "best" / "ema.safetensors"
    scratch = train(out / "new-data", out / "scratch", "finetune-small", *words, "model.weights=null")
    tuned = train(out / "new-data", out / "tuned", "finetune-small", *words, f"model.weights={weights}")
    print_table("start", [("random weights", scratch), ("pretrained on five other classes", tuned)])


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--teacher", nargs="*", default=[], metavar="WORD")
    options = parser.parse_args()
    for part in options.parts or PARTS:
        if part not in PARTS:
            parser.error(f"there is no part {part}; there are {', '.join(PARTS)}")
        if part == "distilled":
            distilled(options.data, options.out, options.teacher)
        else:
            {"imbalanced": imbalanced, "finetuned": finetuned}[part](options.data, options.out)


if __name__ == "__main__":
    main()
