"""The launcher of several processes, with ones that train nothing: `main` stands in for the command line."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from convsmith.launch import local
from convsmith.launch.local import LaunchFailed, launch
from convsmith.launch.report import OUT_OF_MEMORY, PEER_LOST
from convsmith.training.parallel.distributed import _ends_with_the_launcher
from tests.data.test_processes import lives, wait_until
from tests.forked import CONTEXT

BEGIN = """
import json, os, signal, sys, time
from pathlib import Path

rank, folder = int(os.environ["RANK"]), Path(sys.argv[1])
with (folder / f"{rank}.starts").open("a") as file:
    file.write("started\\n")

def end(code, message):
    told = {"rank": rank, "moment": time.time(), "exit_code": code, "message": message}
    Path(os.environ["CONVSMITH_REPORTS"], f"{rank}.json").write_text(json.dumps(told))
    sys.exit(code)

def wait_for(name):
    while not (folder / name).exists():
        time.sleep(0.01)

def wait_to_be_ended():
    time.sleep(20)
    (folder / "left alone").touch()

signal.signal(signal.SIGTERM, lambda *_: end(3, "another process has ended"))
"""


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Launches two processes that run some code, which finds `rank`, `folder`, `end` and `wait_for`."""
    package = tmp_path / "convsmith" / "cli"
    package.mkdir(parents=True)
    for place in (package, package.parent):
        (place / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(local, "_OF_THE_SILENT", 0.2)

    def run(code: str, max_restarts: int = 0) -> None:
        (package / "main.py").write_text(BEGIN + code)
        try:
            launch([str(tmp_path)], 2, 1, max_restarts)
        finally:
            assert not (tmp_path / "left alone").exists()

    return run


def starts(folder: Path) -> list[int]:
    return [len((folder / f"{rank}.starts").read_text().splitlines()) for rank in range(2)]


def test_a_lost_process_ends_the_others_and_the_error_names_it(launched: Callable[..., None]) -> None:
    with pytest.raises(LaunchFailed, match=r"^process 1 was ended by SIGKILL\nThe same command goes on") as failed:
        launched("if rank == 1: os.kill(os.getpid(), signal.SIGKILL)\nwait_to_be_ended()")
    assert failed.value.exit_code == 128 + signal.SIGKILL


ASKED = """
if rank == 1:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
wait_to_be_ended()
"""


def test_a_process_that_was_asked_to_end_by_someone_else_is_lost_too(launched: Callable[..., None]) -> None:
    with pytest.raises(LaunchFailed, match=r"^process 1 was ended by SIGTERM\n"):
        launched(ASKED)


ONCE = """
first = not (folder / "again").exists()
if rank == 1 and first:
    wait_for("0.starts")
    (folder / "again").touch()
    {}
if first:
    wait_to_be_ended()
"""


def test_a_lost_process_is_started_again_with_the_others(
    launched: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    launched(ONCE.format("os.kill(os.getpid(), signal.SIGKILL)"), max_restarts=1)
    assert starts(tmp_path) == [2, 2]
    assert "all start again from the last checkpoint (restart 1 of 1)" in caplog.text


def test_too_little_memory_is_no_restart(launched: Callable[..., None], tmp_path: Path) -> None:
    launched(ONCE.format(f"end({OUT_OF_MEMORY}, 'out of memory')"))
    assert starts(tmp_path) == [2, 2]


HANGS = f"""
if rank == 1:
    wait_for("hangs")
    end({PEER_LOST}, "another process has not answered")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
(folder / "hangs").touch()
wait_to_be_ended()
"""


def test_a_process_that_hangs_is_named_once_the_others_have_waited_for_it(launched: Callable[..., None]) -> None:
    with pytest.raises(LaunchFailed) as failed:
        launched(HANGS)
    assert str(failed.value) == "another process has not answered\nprocess 0 did not end, and was killed"
    assert failed.value.exit_code == PEER_LOST


STOPS = """
signal.signal(signal.SIGTERM, lambda *_: end(143, "stopped by SIGTERM"))
(folder / f"{rank}.ready").touch()
wait_to_be_ended()
"""


def test_a_signal_to_the_launcher_stops_all_with_one_message(launched: Callable[..., None], tmp_path: Path) -> None:
    def signal_once_all_are_there() -> None:
        wait_until(lambda: all((tmp_path / f"{rank}.ready").exists() for rank in range(2)))
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=signal_once_all_are_there).start()
    with pytest.raises(LaunchFailed) as failed:
        launched(STOPS)
    assert (str(failed.value), failed.value.exit_code) == ("stopped by SIGTERM", 128 + signal.SIGTERM)


def start_one(started: Path) -> None:
    """As a launcher does: start a process, which writes its number."""
    if os.fork() == 0:
        with _ends_with_the_launcher():
            started.with_suffix(".new").write_text(str(os.getpid()))
            started.with_suffix(".new").rename(started)
            time.sleep(600)
        os._exit(0)
    signal.pause()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_process_ends_with_a_launcher_that_was_killed(tmp_path: Path) -> None:
    launcher = CONTEXT.Process(target=start_one, args=(tmp_path / "started",))
    launcher.start()
    wait_until((tmp_path / "started").exists)
    launcher.kill()
    launcher.join()
    wait_until(lambda: not lives(int((tmp_path / "started").read_text())))
