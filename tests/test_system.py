"""Calls that not every system has, on one that has them, and where one of them lacks."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convsmith import system

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems lack some of these calls")
_PR_GET_PDEATHSIG = 2


def exit_code_of(work: Callable[[], int]) -> int:
    """What a process that is forked off exits with."""
    child = os.fork()
    if child == 0:
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_process_that_ends_with_its_parent_is_killed_then() -> None:
    def signal_at_the_end_of_the_parent() -> int:
        system.end_with(os.getppid())
        found = ctypes.c_int()
        ctypes.CDLL(None).prctl(_PR_GET_PDEATHSIG, ctypes.byref(found))
        return found.value

    assert exit_code_of(signal_at_the_end_of_the_parent) == signal.SIGKILL


def test_a_process_whose_parent_has_ended_already_ends_at_once() -> None:
    def started_by_another() -> int:
        system.end_with(os.getppid() + 1)
        return 1

    assert exit_code_of(started_by_another) == 0


def test_a_process_is_killed_with_all_that_it_has_started() -> None:
    words = ["bash", "-c", "sleep 30 & echo started; wait"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        system.kill_all_of(process)
        assert process.communicate(timeout=10)[0] == ""  # what sleeps would keep the pipe open
    assert process.returncode == -signal.SIGKILL


def test_cores_are_those_of_the_affinity_or_else_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 2, 5} if process == 0 else {1})
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert system.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert system.cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert system.cores() == 1


def test_resident_memory_is_what_the_kernel_says(monkeypatch: pytest.MonkeyPatch) -> None:
    kilobytes = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert kilobytes
    assert system.resident_memory() == pytest.approx(1024 * int(kilobytes[1]), rel=0.1)
    monkeypatch.delattr(os, "sysconf")
    assert system.resident_memory() == 0


def test_without_proc_resident_memory_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", refuse)
    assert system.resident_memory() == 0


@pytest.mark.parametrize(("limit", "expected"), [(64, 64), (resource.RLIM_INFINITY, None)])
def test_files_may_be_open_up_to_the_soft_limit(
    monkeypatch: pytest.MonkeyPatch, limit: int, expected: int | None
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, 4096))
    assert system.open_files() == expected


@pytest.fixture
def impatient() -> Iterator[None]:
    """Do not wait for a lock for ever."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it is waited for"))
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("impatient")
def test_a_lock_belongs_to_the_open_file(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as one, (tmp_path / "a").open("w") as other:
        assert system.lock(one.fileno())
        with pytest.raises(BlockingIOError):
            system.lock(other.fileno())
    with (tmp_path / "a").open("w") as again:
        assert system.lock(again.fileno(), wait=True)


@pytest.mark.usefixtures("impatient")
def test_a_lock_of_a_process_keeps_out_others_until_it_is_unlocked(tmp_path: Path) -> None:
    def is_kept_out() -> int:
        with (tmp_path / "a").open("w") as file:
            try:
                system.lock(file.fileno(), of_process=True)
            except BlockingIOError:
                return 1
        return 0

    with (tmp_path / "a").open("w") as one, (tmp_path / "a").open("w") as other:
        assert all(system.lock(it.fileno(), of_process=True) for it in (one, other))  # both of this process
        assert exit_code_of(is_kept_out) == 1
        system.unlock(one.fileno())
        assert exit_code_of(is_kept_out) == 0


@pytest.mark.parametrize("folders_open", [True, False])
def test_files_and_folders_are_flushed_where_they_open(
    tmp_path: Path, folders_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    opened, flushed, real = list[tuple[object, int]](), list[int](), os.open

    def note(path: Path, flags: int) -> int:
        opened.append((path, flags))
        return real(path, flags)

    monkeypatch.setattr(system, "FOLDERS_OPEN", folders_open)
    monkeypatch.setattr(os, "open", note)
    monkeypatch.setattr(os, "fsync", flushed.append)
    for path in (tmp_path / "file", tmp_path):
        system.flush(path)
    found = [(tmp_path / "file", os.O_RDONLY), (tmp_path, os.O_RDONLY)]
    assert opened == (found if folders_open else [(tmp_path / "file", os.O_RDWR)])
    assert len(flushed) == len(opened)
