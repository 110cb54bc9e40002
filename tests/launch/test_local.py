"""`convsmith train --devices N`: several real processes, one message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.conftest import SMALL
from tests.training.test_interrupted import assert_same_run, wait_for_step

RECIPE = (*SMALL, "batch.per_device=4", "checkpoint.every_steps=2", "eval=false", "ema.decay=0.9")


# test_launcher has processes end so that do not train, and test_distributed goes on with what killed ones had learned
WITH_TRAININGS = pytest.mark.slow


def start(data: Path, out: Path, *words: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*(launcher or (sys.executable,)), "-m", "convsmith.cli.main", "train", "digits", "--data", str(data)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "--out", str(out), *RECIPE, *words], text=True, stderr=subprocess.PIPE, env=environment
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    _, errors = process.communicate(timeout=600)
    assert process.returncode == code, errors
    return errors


def processes_of(launcher: int) -> dict[int, int]:
    """By rank, the processes that a launcher has started and that live."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (folder / "environ").read_bytes().split(b"\0") if parent == launcher else []
        except OSError:  # it has just ended
            continue
        ranks = [variable for variable in variables if variable.startswith(b"RANK=")]
        if ranks:
            found[int(ranks[0][5:])] = int(folder.name)
    return found


@pytest.fixture(scope="module")
def uninterrupted(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "uninterrupted"
    plain_torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    finish(start(digits, out, launcher=plain_torchrun))
    return out


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@WITH_TRAININGS
def test_a_lost_process_is_started_again_and_the_result_is_that_of_plain_torchrun(
    uninterrupted: Path, digits: Path, tmp_path: Path
) -> None:
    with start(digits, tmp_path, "--devices", "2", "--max-restarts", "1") as process:
        wait_for_step(process, tmp_path, 4)
        os.kill(processes_of(process.pid)[1], signal.SIGKILL)
        errors = finish(process)
    assert "step 0 of 18" in errors
    assert errors.count(" of 18\n") == 2
    assert "a process was lost: all start again from the last checkpoint (restart 1 of 1)" in errors
    assert_same_run(uninterrupted, tmp_path)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@WITH_TRAININGS
def test_a_lost_process_ends_the_others_and_the_error_names_it(digits: Path, tmp_path: Path) -> None:
    with start(digits, tmp_path, "--devices", "2", "schedule.epochs=999") as process:
        wait_for_step(process, tmp_path, 2)
        os.kill(processes_of(process.pid)[1], signal.SIGKILL)
        errors = finish(process, 128 + signal.SIGKILL)
    assert "error: process 1 was ended by SIGKILL\nThe same command goes on from the last checkpoint." in errors
    assert "Traceback" not in errors
    assert "torch" not in errors


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@WITH_TRAININGS
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_hangs_is_named_once_the_others_have_waited_for_it(
    digits: Path, tmp_path: Path, rank: int
) -> None:
    with start(digits, tmp_path, "--devices", "2", "--peer-timeout", "4", "schedule.epochs=999") as process:
        wait_for_step(process, tmp_path, 2)
        os.kill(processes_of(process.pid)[rank], signal.SIGSTOP)
        errors = finish(process, 3)
    assert "error: another process of this training has not answered for 4 seconds" in errors
    assert f"process {rank} did not end, and was killed" in errors
    assert "memory" not in errors


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@WITH_TRAININGS
def test_processes_end_with_a_launcher_that_was_killed(digits: Path, tmp_path: Path) -> None:
    with start(digits, tmp_path, "--devices", "2", "schedule.epochs=999") as process:
        wait_for_step(process, tmp_path, 2)
        started = processes_of(process.pid).values()
        process.kill()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}/cmdline").exists() and read_quietly(pid) for pid in started):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def read_quietly(pid: int) -> bytes:
    """The command line; of a process that has ended and that nobody waits for it is empty."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@WITH_TRAININGS
def test_a_signal_to_the_launcher_stops_all_with_one_message(digits: Path, tmp_path: Path) -> None:
    with start(digits, tmp_path, "--devices", "2", "schedule.epochs=999") as process:
        wait_for_step(process, tmp_path, 2)
        process.send_signal(signal.SIGTERM)
        errors = finish(process, 128 + signal.SIGTERM)
    assert errors.count("error: stopped by SIGTERM after step") == 1
    assert "The same command goes on from there." in errors
    assert "death signal" not in errors


def test_an_error_of_all_processes_is_shown_once_and_not_tried_again(digits: Path, tmp_path: Path) -> None:
    errors = finish(start(digits, tmp_path, "--devices", "2", "--max-restarts", "2", "batch.size=4"), 2)
    assert errors == (
        "error: batch.size=4 cannot be divided over 1 x 2 devices with batch.per_device=4: "
        "it must be a multiple of 8\n"
        "The nearest possible: batch.size=8; or set batch.per_device=auto.\n"
    )
