"""Loader workers as processes: signals, sudden deaths, scripts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.folders import write_noise

SCRIPT = """
import multiprocessing, select, signal, sys
from pathlib import Path
from convsmith.data.image_folder import open_image_folder
from convsmith.data.loader import train_loader
from convsmith.data.read_image import TrainingImages
from convsmith.data.sampler import StepSampler
from convsmith.recipe.augmentation import Augment, Plain, RandomCrop
from convsmith.spec import Preprocess

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: print("signal", flush=True))
index = open_image_folder(Path(sys.argv[1]), 0.5).train
sampler = StepSampler(index.targets, Plain(), 0, 2, 2, 1, 0, 100)
read = TrainingImages(index, Augment(random_crop=RandomCrop(size=8)), Preprocess(resize=8, crop=8))
loader = train_loader(index, read, sampler, 0, 1, 2)
batches = iter(loader)
for _ in range(2):  # one of each worker: both are ready
    next(batches)
print(*[child.pid for child in multiprocessing.active_children()], flush=True)
while not select.select([sys.stdin], [], [], 0.1)[0]:  # one read could miss the signal that comes just before it
    pass
if sys.stdin.readline() == "go on\\n":
    print("batches", 2 + len(list(batches)), flush=True)
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A script without a `__main__` guard that has started two workers, in a process group of its own."""
    (tmp_path / "script.py").write_text(SCRIPT)
    images = write_noise(tmp_path / "images", 4, size=(8, 8))
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(images)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def line(script: subprocess.Popen[str]) -> str:
    assert script.stdout is not None
    return script.stdout.readline().strip()


def runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_outlive_a_signal_to_the_whole_group(script: subprocess.Popen[str], number: signal.Signals) -> None:
    assert len(line(script).split()) == 2
    os.killpg(script.pid, number)
    assert line(script) == "signal"
    output, errors = script.communicate("go on\n", timeout=60)
    assert (output, errors, script.returncode) == ("batches 100\n", "", 0)


def test_workers_end_when_the_main_process_is_killed(script: subprocess.Popen[str]) -> None:
    workers = [int(word) for word in line(script).split()]
    assert all(runs(worker) for worker in workers)
    script.kill()
    for _ in range(300):
        if not any(runs(worker) for worker in workers):
            break
        time.sleep(0.1)
    assert not any(runs(worker) for worker in workers)
    script.communicate()


def test_a_script_can_end_while_a_loader_is_running(script: subprocess.Popen[str]) -> None:
    workers = [int(word) for word in line(script).split()]
    output, errors = script.communicate("stop\n", timeout=60)
    assert (output, errors, script.returncode) == ("", "", 0)
    assert not any(runs(worker) for worker in workers)
