"""Seconds until a command has ended or answered, beside what Python and torch alone take to start.

    .venv/bin/python benchmarks/starting.py BUNDLE PHOTO [--rounds 5]

Every command is a process of its own; all take turns in each round. The memory is the most that a process held.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from spread import spread

PYTHON = {
    "python": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import convsmith": ["-c", "import convsmith"],
}
CONVSMITH = {
    "convsmith recipes": ["recipes"],
    "convsmith models": ["models"],
    "convsmith weights": ["weights"],
    "convsmith doctor": ["doctor"],
    "convsmith plan resnet50-in1k": ["plan", "resnet50-in1k", "--num-samples", "1281167"],
}


def measure(words: list[str]) -> tuple[float, float]:
    """Seconds and MiB of a process of this Python, which must end well."""
    begin = time.perf_counter()
    child = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{words} ended with exit code {child.returncode}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def main() -> None:
    """Print a row for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    own = {**CONVSMITH, "convsmith predict, one image": ["predict", str(options.bundle), str(options.photo)]}
    commands = {**PYTHON, **{name: ["-m", "convsmith", *words] for name, words in own.items()}}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, words in commands.items():
            found[name].append(measure(words))
    print("| command | seconds | to `import torch` | MiB |\n|---|---|---|---|")
    torch = statistics.median(seconds for seconds, _ in found["import torch"])
    for name, each in found.items():
        seconds, memory = ([one[i] for one in each] for i in (0, 1))
        print(f"| `{name}` | {spread(seconds, 2)} | {statistics.median(seconds) / torch:.2f} | {max(memory):,.0f} |")


if __name__ == "__main__":
    main()
