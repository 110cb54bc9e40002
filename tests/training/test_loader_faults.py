"""Commands whose loader processes are killed, or have no shared memory: two lines with the true cause."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.conftest import SMALL
from tests.training.test_interrupted import wait_for_step

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")]

RECIPE = (*SMALL, "batch.per_device=4", "checkpoint.every_steps=2", "data.workers=2")
READ_ONLY = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro tmpfs /dev/shm && exec "$@"', "sh")


def start(data: Path, out: Path, devices: int, *before: str) -> subprocess.Popen[str]:
    """The command, after the words of another one that runs it."""
    command = [*before, sys.executable, "-m", "convsmith.cli.main", "train", "digits", "--data", str(data)]
    command += ["--out", str(out), "--devices", str(devices), *RECIPE, "schedule.epochs=999"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, env=environment)


def processes_below(ancestor: int) -> dict[int, int]:
    """The processes that it has started, and those that they have, each with its parent."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    below: dict[int, int] = {}
    while found := {
        pid: parent for pid, parent in parents.items() if parent in (ancestor, *below) and pid not in below
    }:
        below |= found
    return below


def words_of(process: int) -> bytes:
    """Its command line, which a process that was forked has in common with its parent."""
    return Path(f"/proc/{process}/cmdline").read_bytes()


def assert_two_lines(errors: str, beginning: str) -> None:
    """What comes from `error:` on."""
    told = errors[errors.index("error: ") :].splitlines()
    assert told[0].startswith(f"error: {beginning}")
    assert len(told) == 2
    assert "Traceback" not in errors


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("victims", [1, 2])
def test_killed_loader_processes_are_told_in_two_lines(
    digits: Path, tmp_path: Path, devices: int, victims: int
) -> None:
    with start(digits, tmp_path, devices) as process:
        wait_for_step(process, tmp_path, 2)
        below = processes_below(process.pid)
        trainer = process.pid if devices == 1 else min(pid for pid, parent in below.items() if parent == process.pid)
        loading = [pid for pid, parent in below.items() if parent == trainer and words_of(pid) == words_of(trainer)]
        for pid in loading[:victims]:
            os.kill(pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGKILL, errors
    assert_two_lines(errors, "a process that loads images has died (pid ")


@pytest.mark.parametrize("devices", [1, 2])
def test_shared_memory_that_cannot_be_written_is_told_as_such(digits: Path, tmp_path: Path, devices: int) -> None:
    if getpass.getuser() != "root" or subprocess.run([*READ_ONLY, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    with start(digits, tmp_path, devices, *READ_ONLY) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert_two_lines(errors, "the shared memory of this machine cannot be used: [Errno 30] Read-only file system")
