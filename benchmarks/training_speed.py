"""Training speed of the defaults (precision auto, channels_last) against float32 in contiguous layout.

    .venv/bin/python benchmarks/training_speed.py RECIPE DATA [--epochs N]

Both are trained in turn, twice, by the real command on the same images; the last epoch of each run counts. Use a few
thousand images and an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from convsmith.training.run import Run

SETTINGS = {
    "defaults": (),
    "fp32 contiguous": ("precision=fp32", "channels_last=false"),
}


def images_per_second(recipe: str, data: Path, epochs: int, settings: tuple[str, ...]) -> float:
    """The speed of the last epoch of a fresh run, evaluation not counted."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        overrides = (f"schedule.epochs={epochs}", "schedule.warmup_epochs=0", *settings)
        command = [sys.executable, "-m", "convsmith.cli.main", "train", recipe, "--data", str(data), "--out", str(out)]
        subprocess.run([*command, *overrides], check=True, capture_output=True)
        return float([line for line in Run(out).metrics if line["split"] == "train"][-1]["images_per_second"])


def main() -> None:
    """Measure and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    speeds: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for _ in range(2):
        for name, settings in SETTINGS.items():
            speeds[name].append(images_per_second(options.recipe, options.data, options.epochs, settings))
            print(f"{name}: {speeds[name][-1]:,.0f} images/s", flush=True)
    defaults, plain = (statistics.median(speeds[name]) for name in SETTINGS)
    print(f"defaults / fp32 contiguous = {defaults / plain:.2f}")


if __name__ == "__main__":
    main()
