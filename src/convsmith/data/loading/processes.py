"""Work in processes of their own: no lock of this interpreter's is between them, and they end with this process.

They are started, not forked: a fork among threads can hang, and one that is started anew neither imports torch nor runs
a script's `__main__` again.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Container, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from convsmith.data.loading.stopped import stopped_are_killed, stopped_error
from convsmith.errors import ConvsmithError
from convsmith.system import end_with, signals
from convsmith.waiting import reading_in_time

T = TypeVar("T")
R = TypeVar("R")

_MAIN = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from convsmith.data.loading.processes import answer; answer(int(sys.argv[1]))"
)


def in_processes(
    function: Callable[..., R], tasks: Sequence[T], arguments: Callable[[T], tuple[Any, ...]], count: int
) -> Generator[R]:
    """`function(*arguments(task))` of each task, in their order, computed by `count` processes.

    Whoever does not take all of it closes the iterator, which kills the processes.

    Args:
        function: by its name in a module; what it takes and returns can be pickled, and what it raises is raised here.
        tasks: what is to be done.
        arguments: makes them for a task, in a thread of this process, when it is its turn.
        count: how many processes.

    Raises:
        ConvsmithError: one of them was killed, or cannot be started.
        NotAnswering: one was stopped for long.
    """
    children: list[_Child] = []
    free: SimpleQueue[_Child] = SimpleQueue()

    def ask(task: T) -> R:
        child = free.get()
        try:
            answered: R = child.ask(function, arguments(task), stopped)
            return answered
        finally:
            free.put(child)

    pool = ThreadPoolExecutor(count)  # they wait for the answers
    try:
        for _ in range(count):
            children.append(_Child())
            free.put(children[-1])
        with stopped_are_killed([child.process for child in children]) as stopped:
            yield from pool.map(ask, tasks)
    finally:
        for child in children:
            child.process.kill()
        pool.shutdown(cancel_futures=True)
        for child in children:
            child.close()


def answer(parent: int) -> None:
    """Compute what comes on standard input until it ends: what such a process does, which that one has started."""
    end_with(parent)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints does not get among the answers
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            said = True, reading_in_time(partial(function, *arguments))
        except Exception as error:
            said = False, error
        try:
            pickle.dump(said, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except BrokenPipeError:  # the reader has gone
            os._exit(0)


class _Child:
    """One process. Signals are for the main process: it decides, and this one ends when its input does."""

    def __init__(self) -> None:
        blocked = _block_signals()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", "-c", _MAIN, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise ConvsmithError(
                "cannot start a process to look at the data", error.strerror or str(error), "Free memory or processes."
            ) from error
        finally:
            if blocked is not None:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._send(sys.path)

    def ask(self, function: Callable[..., R], arguments: tuple[Any, ...], stopped: Container[int]) -> R:
        assert self.process.stdout is not None
        try:
            self._send((function, arguments))
            done, said = pickle.load(self.process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            status = self.process.wait()
            if self.process.pid in stopped:
                raise stopped_error(self.process.pid, "looks at the data") from error
            ended = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            raise ConvsmithError(
                "a process that looked at the data has ended",
                f"by {ended}" + ("; the machine may have run out of memory" if ended == "SIGKILL" else ""),
                "The same command looks again.",
            ) from error
        if not done:
            raise said
        result: R = said
        return result

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what it was still to be sent
                    pipe.close()
        self.process.wait()

    def _send(self, what: Any) -> None:
        assert self.process.stdin is not None
        pickle.dump(what, self.process.stdin, pickle.HIGHEST_PROTOCOL)
        self.process.stdin.flush()


def _block_signals() -> set[signal.Signals] | None:
    """Block them in this thread, and so in what it starts; what was blocked before. None on Windows."""
    if not hasattr(signal, "pthread_sigmask"):
        return None
    asking = signals("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
    return {signal.Signals(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, asking)}
