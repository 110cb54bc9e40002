"""Processes that were stopped, as by SIGSTOP, and whose answers would be waited for in vain."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from convsmith.system import KILL
from convsmith.waiting import NotAnswering, read_timeout

_EVERY = 0.5  # seconds


class _Process(Protocol):
    @property
    def pid(self) -> int | None: ...


@contextmanager
def stopped_are_killed(processes: Sequence[_Process]) -> Iterator[set[int]]:
    """Kill, while the block runs, each process that has been stopped for the `read_timeout`; yields their numbers.

    Whoever waits for one then learns that it has ended. Where there is no /proc, none is known to be stopped.

    Args:
        processes: started by this one; some may come and go in the block.
    """
    seconds, killed, over = read_timeout(), set[int](), threading.Event()

    def watch(seconds: float) -> None:
        found = Counter[int]()  # how often in a row: a clock would count the sleep of a laptop too
        while not over.wait(_EVERY):
            numbers = [process.pid for process in (*processes,)]
            found = Counter({pid: found[pid] + 1 for pid in numbers if pid and _is_stopped(pid)})
            for pid in [pid for pid, times in found.items() if times * _EVERY >= seconds]:
                killed.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, KILL)

    watcher = threading.Thread(target=watch, args=(seconds,), name="stopped", daemon=True)
    if seconds is not None:
        watcher.start()
    try:
        yield killed
    finally:
        over.set()
        if seconds is not None:
            watcher.join(_EVERY)


def stopped_error(pid: int, doing: str) -> NotAnswering:
    """The error for a process that was stopped, and is killed."""
    return NotAnswering(
        f"a process that {doing} was stopped (pid {pid})",
        f"it has not answered for {read_timeout() or 0:g} seconds, so it is ended",
        "Somebody sent it SIGSTOP, or SIGTSTP. The same command goes on.",
    )


def _is_stopped(pid: int) -> bool:
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:  # it has ended, or this is not Linux
        return False
    return state == "T" and int(parent) == os.getpid()  # else another one has its number now
