from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from convsmith.bundle.decode import ImageError
from convsmith.data.processes import in_processes
from convsmith.errors import ConvsmithError
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


def one(task: int) -> tuple[int]:
    return (task,)


def test_answers_come_in_the_order_of_the_tasks() -> None:
    assert list(in_processes(abs, [-3, 2, -1, 5], one, 2)) == [3, 2, 1, 5]


def test_the_work_is_done_elsewhere() -> None:
    assert os.getpid() not in set(in_processes(process_of, range(4), one, 2))


def test_a_process_does_not_import_torch() -> None:
    question = "__import__('convsmith.data.pairs') and 'torch' in __import__('sys').modules"
    assert list(in_processes(eval, [question], lambda task: (task,), 1)) == [False]


def test_an_error_is_raised_here() -> None:
    with pytest.raises(ImageError, match=r"cannot read 7: it is empty\nFill it\."):
        list(in_processes(refuse, [7], one, 1))


def test_a_killed_process_is_an_error_that_says_so() -> None:
    with pytest.raises(ConvsmithError, match="has ended: by SIGKILL; the machine may have run out of memory"):
        list(in_processes(die, [0], one, 1))


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
        "from convsmith.data.processes import in_processes\n"
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
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
