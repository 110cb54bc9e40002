"""Loader workers as processes: signals, sudden deaths, scripts."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from convsmith.data.contents import Content
from convsmith.data.loading.loader import Batch, val_loader
from convsmith.errors import ConvsmithError
from convsmith.waiting import NotAnswering
from tests.conftest import REPOSITORY
from tests.data.folders import folder_of_classes, write_noise
from tests.data.test_processes import lives, wait_until

COUNT = 200  # more than the processes load ahead
SCRIPT = """
import multiprocessing, select, signal, sys
from pathlib import Path
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.loading.loader import train_loader
from convsmith.data.read_image import TrainingImages
from convsmith.data.loading.sampler import StepSampler
from convsmith.data.split import Share
from convsmith.recipe.augmentation import Augment, RandomCrop
from convsmith.recipe.sampling import Plain
from convsmith.spec import Preprocess

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: print("signal", flush=True))
index = open_image_folder(Path(sys.argv[1]), Share(0.5)).train
sampler = StepSampler(
    index.targets, Plain(),
    seed=0, effective_batch=2, per_device_batch=2, steps_per_epoch=1, first_step=0, last_step=100,
)
read = TrainingImages(index, Augment(random_crop=RandomCrop(size=8)), Preprocess(resize=8, crop=8))
loader = train_loader(index, read, sampler, seed=0, attempts=1, workers=2)
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


def test_workers_outlive_signals_to_the_whole_group(script: subprocess.Popen[str]) -> None:
    assert len(line(script).split()) == 2
    for number in (signal.SIGINT, signal.SIGTERM):
        os.killpg(script.pid, number)
        assert line(script) == "signal"
    output, errors = script.communicate("go on\n", timeout=60)
    assert (output, errors, script.returncode) == ("batches 100\n", "", 0)


def test_workers_end_when_the_main_process_is_killed(script: subprocess.Popen[str]) -> None:
    workers = [int(word) for word in line(script).split()]
    assert all(lives(worker) for worker in workers)
    script.kill()
    wait_until(lambda: not any(lives(worker) for worker in workers))
    script.communicate()


def test_a_script_can_end_while_a_loader_is_running(script: subprocess.Popen[str]) -> None:
    workers = [int(word) for word in line(script).split()]
    output, errors = script.communicate("stop\n", timeout=60)
    assert (output, errors, script.returncode) == ("", "", 0)
    assert not any(lives(worker) for worker in workers)


BLOCKED = """
import os, sys
from convsmith.data.loading.loader_processes import loader

class Blocked:
    def __getitem__(self, _):
        print(os.getpid(), flush=True)
        open(sys.argv[1]).read()

next(iter(loader(Blocked(), range(2), 1)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other system ends a process with its parent")
def test_a_worker_that_waits_for_a_file_ends_when_the_main_process_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    words = [sys.executable, "-c", BLOCKED, str(tmp_path / "pipe")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as main:
        worker = int(line(main))
        main.kill()
    wait_until(lambda: not lives(worker))


def plain(_i: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(3, 4, 4, dtype=torch.uint8), torch.tensor(0)


def load(read: Callable[[int], tuple[Tensor, Tensor]], workers: int = 2) -> DataLoader[Batch]:
    """One sample a batch."""
    return val_loader(folder_of_classes([COUNT]).train, read, 1, workers=workers)


def begun(loader: DataLoader[Batch]) -> tuple[Iterator[Batch], list[int]]:
    """What is left of its batches after the first, and the processes that load them."""
    before = multiprocessing.active_children()
    batches = iter(loader)
    next(batches)
    return batches, [it.pid for it in multiprocessing.active_children() if it not in before and it.pid]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_never_answers_ends_the_loading_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("CONVSMITH_READ_TIMEOUT", "0.2")
    os.mkfifo(tmp_path / "pipe")
    silent = Content("silent.png", lambda: (tmp_path / "pipe").open("rb"))

    def read(i: int) -> tuple[Tensor, Tensor]:
        if i == 5:
            silent.read()
        return plain(i)

    with pytest.raises(NotAnswering) as caught:
        list(load(read, workers))
    assert caught.value.what == "silent.png has not answered for 0.2 seconds"
    assert caught.value.exit_code == 3


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("idle", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_stopped_worker_ends_the_loading_and_is_named(monkeypatch: pytest.MonkeyPatch, idle: bool) -> None:
    monkeypatch.setenv("CONVSMITH_READ_TIMEOUT", "1")
    loader = load(plain)
    batches, workers = begun(loader)
    if idle:
        assert len(list(batches)) == COUNT - 1
        batches = iter(loader)
    os.kill(workers[1], signal.SIGSTOP)
    with pytest.raises(NotAnswering, match=rf"a process that loads images was stopped \(pid {workers[1]}\): "):
        list(batches)


@pytest.mark.slow  # torch looks every 5 seconds whether they live
@pytest.mark.parametrize("victims", [1, 2])
def test_killed_workers_are_one_error_where_a_batch_is_waited_for_and_none_after_it(victims: int) -> None:
    batches, workers = begun(load(plain))
    for worker in workers[:victims]:
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(ConvsmithError) as caught:
        list(batches)
    told = [f"a process that loads images has died (pid {it}): it was ended by SIGKILL" for it in workers[:victims]]
    assert caught.value.what in told
    assert caught.value.exit_code == 128 + signal.SIGKILL
    subprocess.run(["true"], check=True)  # whose end is another SIGCHLD
