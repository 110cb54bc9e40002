from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.images.read_bytes import read_bytes
from convsmith.data.loading.processes import in_processes
from convsmith.errors import ConvsmithError
from convsmith.waiting import NotAnswering
from tests.conftest import REPOSITORY


def process_of(_task: int) -> int:
    print("what a library says does not disturb")
    return os.getpid()


def refuse(task: int) -> int:
    raise ImageError(f"cannot read {task}", "it is empty", "Fill it.")


def die(_task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def handled(_task: int) -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, []))


def be_stopped(_task: int) -> int:
    os.kill(os.getpid(), signal.SIGSTOP)
    return 0


def open_pipe(pipe: Path) -> int:
    """Wait for somebody to write into it, which nothing says how long may take; leave this process's number beside."""
    pipe.with_name("pid").write_text(str(os.getpid()))
    return len(pipe.read_bytes())


def read_pipe(pipe: Path) -> int:
    return len(read_bytes(pipe))


def one(task: int) -> tuple[int]:
    return (task,)


def test_answers_come_in_the_order_of_the_tasks() -> None:
    assert list(in_processes(abs, [-3, 2, -1, 5], one, 2)) == [3, 2, 1, 5]


def test_the_work_is_done_elsewhere() -> None:
    assert os.getpid() not in set(in_processes(process_of, range(4), one, 2))


def test_a_process_does_not_import_torch() -> None:
    question = "__import__('convsmith.data.masks.pairs') and 'torch' in __import__('sys').modules"
    assert list(in_processes(eval, [question], lambda task: (task,), 1)) == [False]


def test_an_error_is_raised_here() -> None:
    with pytest.raises(ImageError, match=r"cannot read 7: it is empty\nFill it\."):
        list(in_processes(refuse, [7], one, 1))


def test_a_killed_process_is_an_error_that_says_so() -> None:
    with pytest.raises(ConvsmithError, match="has ended: by SIGKILL; the machine may have run out of memory"):
        list(in_processes(die, [0], one, 1))


@pytest.mark.parametrize("status", [0, 3])
def test_a_process_that_leaves_without_an_answer_is_an_error_with_its_status(status: int) -> None:
    with pytest.raises(ConvsmithError, match=f"has ended: by exit status {status}\n"):
        list(in_processes(os._exit, [status], one, 1))


def test_a_stopped_process_is_ended_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_READ_TIMEOUT", "1")
    with pytest.raises(NotAnswering, match=r"a process that looks at the data was stopped \(pid \d+\): "):
        list(in_processes(be_stopped, [0], one, 1))


def test_a_file_that_never_answers_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_READ_TIMEOUT", "0.2")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotAnswering, match=f"{tmp_path / 'pipe'} has not answered for 0.2 seconds"):
        list(in_processes(read_pipe, [tmp_path / "pipe"], lambda path: (path,), 1))


def test_signals_are_left_to_the_main_process() -> None:
    (blocked,) = in_processes(handled, [0], one, 1)
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP} <= blocked


def test_processes_end_with_the_iterator() -> None:
    with closing(in_processes(process_of, range(100), one, 2)) as pids:
        pid = next(pids)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_processes_end_when_the_main_one_is_killed(tmp_path: Path) -> None:
    script = (
        "from convsmith.data.loading.processes import in_processes\n"
        "from tests.data.test_processes import one, process_of\n"
        "import time\n"
        "answers = in_processes(process_of, range(9), one, 1)\n"
        "print(next(answers), flush=True)\n"
        "time.sleep(60)\n"
    )
    main = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert main.stdout is not None
    pid = int(main.stdout.readline())
    main.kill()
    main.wait()
    main.stdout.close()
    wait_until(lambda: not lives(pid))


@pytest.mark.skipif(sys.platform != "linux", reason="no other system ends a process with its parent")
def test_a_process_that_waits_for_a_file_ends_when_the_main_one_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    script = (
        "from pathlib import Path\n"
        "from convsmith.data.loading.processes import in_processes\n"
        "from tests.data.test_processes import one, open_pipe\n"
        f"list(in_processes(open_pipe, [Path({str(tmp_path / 'pipe')!r})], one, 1))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY) as main:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
        main.kill()
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not lives(pid))


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
