"""Disks that are full or read-only: a clear message, nothing lost, and with room the same command goes on."""

from __future__ import annotations

import getpass
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.training.conftest import SMALL
from tests.training.ranks import run_ranks, train_tiny
from tests.training.test_interrupted import assert_same_run

PAGE = 4096
Mount = Callable[[str], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Mount]:
    """Gives a disk in memory the options of mount, and its place."""
    if getpass.getuser() != "root" or sys.platform != "linux":
        pytest.skip("mounting a small disk needs root on Linux")
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
        if made.returncode:
            pytest.skip(f"nothing can be mounted here: {made.stderr.decode().strip()}")
        return place

    yield mount
    while subprocess.run(["umount", place], capture_output=True, check=False).returncode == 0:
        pass


def test_a_disk_that_fills_up_ends_the_run_which_goes_on_to_the_same_bytes(
    alone: Path, digits: Path, disk: Mount
) -> None:
    files = [file for file in alone.rglob("*") if file.is_file() and "last" not in file.parts]
    pages = sum(-(-file.stat().st_size // PAGE) for file in files)
    out = disk(f"size={pages * PAGE}") / "run"  # a checkpoint is written before the third newest goes
    (told,) = run_ranks(1, train_tiny, digits, out, ())
    assert told.startswith("ConvsmithError 2: the checkpoint of step ")
    assert "No space left on device" in told
    assert list(out.glob("checkpoints/step-*"))
    disk("remount,size=100m")
    assert run_ranks(1, train_tiny, digits, out, ()) == ["finished"]
    assert_same_run(alone, out)


def test_a_disk_that_is_read_only_is_an_error_and_the_run_stays_as_it_was(digits: Path, disk: Mount) -> None:
    out = disk("size=100m") / "run"
    assert run_ranks(1, train_tiny, digits, out, ()) == ["finished"]
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    disk("remount,ro")
    (told,) = run_ranks(1, train_tiny, digits, out, ())
    assert told.startswith(f"ConvsmithError 2: the run directory {out} cannot be written: ")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def train(data: Path, out: Path, *words: str, memory: str | None = None) -> subprocess.CompletedProcess[str]:
    """`convsmith train`, with so much shared memory."""
    command = [sys.executable, "-m", "convsmith.cli.main", "train", "digits", "--data", str(data), "--out", str(out)]
    command += [*SMALL, "ema.decay=0.9", "checkpoint.every_steps=2", "schedule.epochs=2", *words]
    if memory:
        small = f'mount -t tmpfs -o size={memory} tmpfs /dev/shm && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", small, "sh", *command]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["4k", "8k", "12k", "40k", "3m", "7m", "10m", "11m", "12m"])
def test_wherever_the_disk_fills_up_nothing_is_lost(digits: Path, disk: Mount, tmp_path: Path, size: str) -> None:
    out = disk(f"size={size}") / "run"
    full = train(digits, out)
    assert full.returncode == 2, full.stderr
    assert "cannot be written" in full.stderr
    disk("remount,size=100m")
    assert train(digits, out).returncode == 0
    assert train(digits, tmp_path / "reference").returncode == 0
    assert_same_run(tmp_path / "reference", out)


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["16k", "64k", "256k"])
def test_full_shared_memory_is_an_error_at_once_and_the_run_goes_on(
    digits: Path, tmp_path: Path, disk: Mount, memory: str
) -> None:
    disk("size=4k")  # skips where nothing can be mounted
    large = ("data.workers=1", "augment.random_crop.size=64", "preprocess.resize=64", "preprocess.crop=64")
    out = tmp_path / "run"
    full = train(digits, out, *large, memory=memory)
    assert full.returncode == 2, full.stderr
    assert "error: the shared memory of this machine is full: " in full.stderr
    assert "set data.workers=0" in full.stderr
    assert "Traceback" not in full.stderr
    assert train(digits, out, *large).returncode == 0
    assert train(digits, tmp_path / "reference", *large).returncode == 0
    assert_same_run(tmp_path / "reference", out)
