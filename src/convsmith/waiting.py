"""Waiting that comes to an end: what a pipe, or a disk that is gone, never answers is given up and named."""

from __future__ import annotations

import errno
import logging
import math
import os
import queue
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from convsmith.errors import ConvsmithError
from convsmith.system import at_fork
from convsmith.variables import number_in

logger = logging.getLogger(__name__)

T = TypeVar("T")

READ_TIMEOUT_VARIABLE = "CONVSMITH_READ_TIMEOUT"
_SECONDS = "120"


class NotAnswering(ConvsmithError):
    """A file, or a process, has not answered for long: the same command goes on once it does."""

    exit_code = 3

    @classmethod
    def of_file(cls, name: str, seconds: float) -> NotAnswering:
        """The error for what could not be read in so many seconds."""
        return cls(
            f"{name} has not answered for {seconds:g} seconds",
            "the disk that it is on may be gone, or the connection to it",
            f"The same command goes on when it answers again. {_LONGER}",
        )


_LONGER = f"data.read_timeout, or {READ_TIMEOUT_VARIABLE}, is how many seconds are waited."


def read_timeout() -> float | None:
    """How many seconds a file is waited for: 120, or what CONVSMITH_READ_TIMEOUT says; None where that is 0: for ever.

    Raises:
        ConvsmithError: that is not a number of seconds.
    """
    seconds = number_in(
        READ_TIMEOUT_VARIABLE,
        os.environ.get(READ_TIMEOUT_VARIABLE) or _SECONDS,
        below=threading.TIMEOUT_MAX,
        says="how many seconds a file is waited for",
        fix="Set a number; 0 waits for as long as it takes.",
    )
    return seconds or None


def answer_of(read: Callable[[], T], name: str | Callable[[], str]) -> T:
    """Return what `read` does, and wait no longer for it than `read_timeout`.

    Args:
        read: its errors are raised here.
        name: what an error calls that which is read, or gives it when that is known.

    Raises:
        NotAnswering: it has taken longer.
    """
    reader: _Reader | None = getattr(_this_thread, "reader", None)
    if reader is None:
        return read() if read_timeout() is None else reading_in_time(lambda: answer_of(read, name))
    reader.name, reader.since = name, time.monotonic()
    try:
        return read()
    finally:
        reader.since = math.inf


def reading_in_time(work: Callable[[], T]) -> T:
    """Return what `work` does in another thread, which is left behind when an `answer_of` in it takes too long.

    A thread that waits for a disk cannot be interrupted. Asking another one takes 20 microseconds, more where cores are
    busy: what reads many small files is worth one question for all of them.

    Raises:
        NotAnswering: something that it reads has taken longer than `read_timeout`.
    """
    seconds = read_timeout()
    if seconds is None or hasattr(_this_thread, "reader"):
        return work()
    try:
        reader = _idle.pop()
    except IndexError:
        reader = _Reader()
    reader.asked.put(work)
    while True:
        try:
            result, error = reader.answers.get(timeout=min(seconds, _EVERY))
            break
        except queue.Empty:
            if time.monotonic() - reader.since > seconds:
                name = reader.name if isinstance(reader.name, str) else reader.name()
                raise NotAnswering.of_file(name, seconds) from None
    _idle.append(reader)
    if error is not None:
        raise error
    answer: T = result
    return answer


@contextmanager
def idle_readers_ended() -> Iterator[None]:
    """End, after a long job in the block, the threads that have read for it and wait for more to do."""
    try:
        yield
    finally:
        with suppress(IndexError):
            while True:
                _idle.pop().end()


@contextmanager
def disk_watched(folder: Path) -> Iterator[None]:
    """Ask the disk of a folder again and again in the block; one that is silent for `read_timeout` is given up.

    What writes to such a disk waits for ever, and no error can be raised there. So a process that `end_by` has been
    called in ends; any other logs a warning that says what it waits for.

    Args:
        folder: asked about as soon as it exists.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_EVERY):
            try:
                with suppress(OSError):  # which those say that need the folder
                    answer_of(lambda: shutil.disk_usage(folder), str(folder))
            except NotAnswering as error:
                _give_up(error)
                return

    watcher = threading.Thread(target=watch, name="disk", daemon=True)
    if read_timeout() is not None:
        watcher.start()
    try:
        yield
    finally:
        over.set()


def end_by(end: Callable[[NotAnswering], None]) -> None:
    """Let `end`, which is called in another thread, end this process when a disk is given up that it writes to."""
    global _give_up
    _give_up = end


def _warn(error: NotAnswering) -> None:
    logger.warning("%s: %s", error.what, error.why)


_give_up: Callable[[NotAnswering], None] = _warn

_EVERY = 1.0  # seconds from one look at the clock to the next


class _Reader:
    """A thread that works for others, one after another; a program can end while it waits."""

    def __init__(self) -> None:
        self.asked: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self.name: str | Callable[[], str] = ""
        self.since = math.inf  # when it began to read that; infinite while it does not read
        self._thread = threading.Thread(target=self._work, name="read", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self.asked.put(None)
        self._thread.join()

    def _work(self) -> None:
        _this_thread.reader = self
        while work := self.asked.get():
            self.answers.put(_outcome(work))


def _outcome(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return work(), None
    except BaseException as error:
        return None, error


_this_thread = threading.local()
_idle: list[_Reader] = []
at_fork(after_in_child=_idle.clear)  # which has none of their threads


class NotAFile(OSError):
    """A pipe, a socket or a device stands in place of a file, and could be waited for."""


def read_file(path: Path) -> bytes:
    """Return what a file holds, as `open_file` opens it."""
    with open_file(path) as file:
        return file.read()


def open_file(path: Path) -> BufferedReader:
    """Open a file for reading, and nothing that could be waited for: no pipe, socket or device.

    Raises:
        NotAFile: it is one of these.
        OSError: it cannot be opened.
    """
    return open(path, "rb", opener=_open_regular)


def _open_regular(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # without, a pipe would wait for its other end
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        os.close(descriptor)
        raise NotAFile(errno.EINVAL, "it is a pipe, a socket or a device", path)
    return descriptor
