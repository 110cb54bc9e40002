"""Standard output and error that may be closed, full or unread: text is lost then, never the work."""

from __future__ import annotations

import io
import logging
import os
import select
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Literal

logger = logging.getLogger(__name__)

_KEPT = 1 << 16  # bytes that wait for a reader; text beyond is lost
_PATIENCE = 5.0  # seconds without a reader until that is worth a warning
_PIECE = 512  # bytes that a pipe takes whole where it is ready (POSIX)
_LAST = 2.0  # seconds that the last words wait for a reader
Name = Literal["stdout", "stderr"]
_NAMES: dict[Name, str] = {"stdout": "standard output", "stderr": "standard error"}


@contextmanager
def output_that_may_be_lost(*names: Name) -> Iterator[None]:
    """Let nothing that becomes of standard output and error end or hold up the block; a warning says what it was.

    What cannot be written at once is kept for later, up to 64 kB, and handed over for at most two seconds at the end. A
    stream without a descriptor, and that of a notebook, stays as it is.

    Args:
        names: of the streams; both without any.
    """
    with ExitStack() as kept:
        for name in names or _NAMES:
            kept.enter_context(_that_may_be_lost(name))
        yield


@contextmanager
def _that_may_be_lost(name: Name) -> Iterator[None]:
    if kept := _kept(name):
        kept.tell_again()  # to the log of this block
        yield
        return
    before = getattr(sys, name)
    if not isinstance(before, io.TextIOWrapper):  # that of a notebook has a descriptor, and writes elsewhere
        yield
        return
    try:
        descriptor = before.fileno()
        send, close = _sender(descriptor)
    except (AttributeError, OSError, ValueError):
        yield
        return
    with suppress(OSError):
        before.flush()
    kept = _Unhindered(send, descriptor, _NAMES[name])
    setattr(sys, name, io.TextIOWrapper(kept, before.encoding, before.errors, line_buffering=True))
    try:
        yield
    finally:
        say_the_last_words(name)
        setattr(sys, name, before)
        kept.end(close)


@contextmanager
def errors_name_the_output() -> Iterator[None]:
    """Let an OSError of what is printed on standard output in the block name it as its file; all of it is flushed."""
    before = sys.stdout
    try:
        descriptor = -1 if _kept("stdout") else before.fileno()
    except (AttributeError, OSError, ValueError):
        descriptor = -1
    if descriptor < 0:
        yield
        return
    before.flush()
    buffer = io.BufferedWriter(_Answer(descriptor, "w", closefd=False))
    sys.stdout = io.TextIOWrapper(buffer, before.encoding, before.errors, line_buffering=before.isatty())
    try:
        yield
    finally:
        named, sys.stdout = sys.stdout, before
        named.flush()


class _Answer(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = _NAMES["stdout"]
            raise


def say_the_last_words(name: Name) -> None:
    """Wait for at most two seconds until all that was written is read, where `output_that_may_be_lost` holds."""
    if kept := _kept(name):
        getattr(sys, name).flush()
        kept.wait()


def open_closed_streams() -> None:
    """Give a process that was started without standard streams some that lead nowhere.

    Else the next file that it opens, such as one of the run, would be where other libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    for number, name in enumerate(_NAMES, 1):
        if getattr(sys, name) is None:
            nowhere = _Unhindered(_closed, number, _NAMES[name])
            setattr(sys, name, io.TextIOWrapper(nowhere, "utf-8", "backslashreplace", line_buffering=True))


def _kept(name: Name) -> _Unhindered | None:
    """The file descriptor that the stream goes to where it may be lost."""
    stream = getattr(sys, name)
    kept = stream.buffer if isinstance(stream, io.TextIOWrapper) else None
    return kept if isinstance(kept, _Unhindered) else None


class _Unhindered(io.BufferedIOBase):
    """Bytes for a descriptor that takes them when it can.

    Args:
        send: writes what the descriptor takes without waiting, and returns how much that was.
        descriptor: of the stream.
        called: what messages call it.
    """

    def __init__(self, send: Callable[[bytes], int], descriptor: int, called: str) -> None:
        self._send, self._descriptor, self._called = send, descriptor, called
        self._told = False
        self._start()

    def _start(self) -> None:
        self._process, self._lock = os.getpid(), threading.RLock()
        self._kept, self._stuck_since = bytearray(), 0.0

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Send, keep or lose all of it."""
        if self._process != os.getpid():  # a fork: what is kept is for the other process to send
            self._start()
        with self._lock:
            if len(self._kept) + len(data) <= _KEPT:
                self._kept += data
            else:
                self._tell("it is not read")
            self._hand_over()
        return len(data)

    def flush(self) -> None:
        """Send what can be sent at once."""
        self.write(b"")

    def wait(self) -> None:
        """Give a reader some time for what is kept."""
        end = time.monotonic() + (0 if self._told else _LAST)
        self.flush()
        while self._kept and time.monotonic() < end:
            time.sleep(0.02)
            self.flush()
        if self._kept:
            self._tell("it is not read")

    def end(self, close: Callable[[], None]) -> None:
        """Lose from now on what those write who still hold the stream."""
        self._send, self._told = _closed, True
        close()

    def tell_again(self) -> None:
        """Warn of the next loss too."""
        self._told = False

    def writable(self) -> bool:
        """As any stream for text has to be."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def _hand_over(self) -> None:
        try:
            while self._kept:
                del self._kept[: self._send(bytes(self._kept[:_PIECE]))]
            self._stuck_since = 0.0
        except BlockingIOError:
            now = time.monotonic()
            self._stuck_since = self._stuck_since or now
            if now - self._stuck_since > _PATIENCE:
                self._tell("it is not read")
        except OSError as error:
            self._kept.clear()
            self._tell(error.strerror or str(error))

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            logger.warning("%s cannot be written (%s): the work goes on, what it prints is lost", self._called, why)


def _sender(descriptor: int) -> tuple[Callable[[bytes], int], Callable[[], None]]:
    """A function that writes what the descriptor takes at once, and one that ends its work.

    The first raises BlockingIOError where nothing is taken. Whether a descriptor waits is a matter of all processes
    that share it, so that cannot be changed: it is opened anew.
    """
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(kind):
        connection = socket.socket(fileno=os.dup(descriptor))
        return lambda data: connection.send(data, socket.MSG_DONTWAIT), connection.close
    waits = stat.S_ISFIFO(kind) or os.isatty(descriptor)
    if waits:
        with suppress(AttributeError, OSError):  # not Linux; the other end is closed; another user's terminal
            own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            return lambda data: os.write(own, data), lambda: os.close(own)
    own = os.dup(descriptor)
    return lambda data: _send_if_ready(own, data) if waits else os.write(own, data), lambda: os.close(own)


def _send_if_ready(descriptor: int, data: bytes) -> int:
    if hasattr(select, "poll"):  # not on Windows
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if not poll.poll(0):
            raise BlockingIOError
    return os.write(descriptor, data)


def _closed(_: bytes) -> int:
    raise OSError(0, "it is closed")
