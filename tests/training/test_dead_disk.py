"""Commands whose data, or run, lie on a disk that stops answering, as a network's does whose server is gone."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.colours import LABELS, picture
from tests.fuse_disk import Disk, fuse_disk
from tests.training.conftest import SMALL
from tests.training.test_interrupted import wait_for_step

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or getpass.getuser() != "root" or not Path("/dev/fuse").exists(),
        reason="a file system in user space needs root on Linux",
    ),
]

SECONDS = "2"
SILENT = f"has not answered for {SECONDS} seconds: the disk that it is on may be gone"


def begin(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "convsmith.cli.main", *map(str, words)]
    variables = {**os.environ, "CONVSMITH_READ_TIMEOUT": SECONDS, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables)


def assert_it_ends(process: subprocess.Popen[str], name: Path) -> None:
    """In time, with exit code 3 and an error that names what has not answered."""
    _, errors = process.communicate(timeout=60)
    assert f"error: {name} {SILENT}" in errors
    assert "Traceback" not in errors
    assert process.returncode == 3


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes of colours, one of which has an image called silent.png."""
    for colour in LABELS:
        folder = tmp_path / "photos" / colour
        folder.mkdir(parents=True)
        for name in "abcd":
            (folder / f"{name}.png").write_bytes(picture(colour))
    (tmp_path / "photos/blue/silent.png").write_bytes(picture("blue"))
    return tmp_path / "photos"


@pytest.fixture
def with_a_silent_file(photos: Path, tmp_path: Path) -> Iterator[Path]:
    with fuse_disk(photos, tmp_path / "disk", silent="silent.png") as disk:
        yield disk.path


@pytest.fixture
def dead(photos: Path, tmp_path: Path) -> Iterator[Path]:
    with fuse_disk(photos, tmp_path / "disk") as disk:
        disk.die()
        yield disk.path


def test_the_check_names_a_file_that_never_answers(with_a_silent_file: Path) -> None:
    assert_it_ends(begin("data", "check", with_a_silent_file), with_a_silent_file / "blue/silent.png")


def test_a_training_names_it_before_the_first_step(with_a_silent_file: Path, tmp_path: Path) -> None:
    process = begin("train", "digits", "--data", with_a_silent_file, "--out", tmp_path / "run", *SMALL)
    assert_it_ends(process, with_a_silent_file / "blue/silent.png")


def test_evaluate_names_it(colour_bundle: Path, with_a_silent_file: Path) -> None:
    process = begin("evaluate", colour_bundle, "--data", with_a_silent_file)
    assert_it_ends(process, with_a_silent_file / "blue/silent.png")


def test_predict_names_it(colour_bundle: Path, with_a_silent_file: Path) -> None:
    assert_it_ends(begin("predict", colour_bundle, with_a_silent_file), with_a_silent_file / "blue/silent.png")


@pytest.mark.parametrize("words", [("data", "check"), ("train", "digits", "--data")])
def test_a_disk_that_is_dead_from_the_start_is_named(dead: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    out = ("--out", tmp_path / "run") if "train" in words else ()
    assert_it_ends(begin(*words, dead, *out), dead)


@pytest.fixture
def digits_disk(digits: Path, tmp_path: Path) -> Iterator[Disk]:
    with fuse_disk(digits, tmp_path / "disk") as disk:
        yield disk


@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_whose_disk_dies_names_a_file_and_goes_on_when_it_is_back(
    digits_disk: Disk, tmp_path: Path, workers: int
) -> None:
    words = ["train", "digits", "--data", str(digits_disk.path), "--out", str(tmp_path / "run"), *SMALL]
    words += ["precision=fp32", "checkpoint.every_steps=2", "schedule.epochs=200"]
    words += [f"data.workers={workers}", "data.read_timeout=3"]
    with begin(*words) as process, ExitStack() as stack:
        wait_for_step(process, tmp_path / "run", 4)
        digits_disk.die()
        stack.callback(digits_disk.revive)
        _, errors = process.communicate(timeout=90)
    assert f"error: {digits_disk.path}/" in errors
    assert "has not answered for 3 seconds" in errors
    assert "Traceback" not in errors
    assert process.returncode == 3
    going_on = begin(*words)
    wait_for_step(going_on, tmp_path / "run", newest_step(tmp_path / "run") + 2)
    going_on.terminate()
    assert going_on.wait(60) == 143


def newest_step(run: Path) -> int:
    return max(int(path.name[5:]) for path in run.glob("checkpoints/step-*"))


def test_a_training_whose_run_directory_dies_names_it_and_goes_on_when_it_is_back(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with fuse_disk(tmp_path / "runs", tmp_path / "disk", writable=True) as disk:
        run = disk.path / "run"
        words = ["train", "digits", "--data", str(digits), "--out", str(run), *SMALL]
        words += ["precision=fp32", "checkpoint.every_steps=2", "schedule.epochs=200", "data.read_timeout=3"]
        with begin(*words) as process, ExitStack() as stack:
            wait_for_step(process, run, 4)
            disk.die()
            stack.callback(disk.revive)
            _, errors = process.communicate(timeout=90)
        assert f"error: {run} has not answered for 3 seconds" in errors
        assert process.returncode == 3
        going_on = begin(*words)
        wait_for_step(going_on, run, newest_step(run) + 2)
        going_on.terminate()
        assert going_on.wait(60) == 143
