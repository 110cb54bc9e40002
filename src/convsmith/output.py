"""Standard output and error of long work, which may be lost but must neither stop nor end it."""

from __future__ import annotations

import io
import os
import queue
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MOST_WAITING = 1000  # pieces of text
LAST_SECONDS = 1.0  # for what still waits at the end


def open_closed_streams() -> None:
    """Put the null device where standard input, output or error is closed, so that no file or socket gets its number.

    Otherwise what a library prints on descriptor 2 would go into whatever was opened next.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest free number
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


@contextmanager
def output_that_may_be_lost() -> Iterator[None]:
    """Let what is printed inside be lost where nothing takes it: a full disk, a closed pipe, or one that is not read.

    Streams that a caller has put in place of the process's own are left alone.
    """
    before = sys.stdout, sys.stderr
    patient = []
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream is getattr(sys, f"__{name}__"):
            writer = _Writer(stream.fileno())
            patient.append(writer)
            text = io.TextIOWrapper(writer, stream.encoding, stream.errors, line_buffering=True, write_through=True)
            setattr(sys, name, text)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for writer in patient:
            writer.finish()


class _Writer(io.BufferedIOBase):
    """Hands what is written to a thread, which may wait for ever; a forked process writes only what fits at once."""

    def __init__(self, descriptor: int) -> None:
        self.name = self._descriptor = descriptor
        self._process = os.getpid()
        self._waiting: queue.Queue[bytes] = queue.Queue(MOST_WAITING)
        threading.Thread(target=self._write_on, name="output", daemon=True).start()

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        piece = bytes(data)
        if os.getpid() == self._process:
            with suppress(queue.Full):
                self._waiting.put_nowait(piece)
        elif select.select([], [self._descriptor], [], 0)[1]:
            self._write_now(piece)
        return len(piece)

    def finish(self) -> None:
        """Give the thread a moment for what still waits."""
        with self._waiting.all_tasks_done:
            self._waiting.all_tasks_done.wait_for(lambda: not self._waiting.unfinished_tasks, LAST_SECONDS)

    def _write_on(self) -> None:
        while True:
            self._write_now(self._waiting.get())
            self._waiting.task_done()

    def _write_now(self, piece: bytes) -> None:
        with suppress(OSError):
            while piece:
                piece = piece[os.write(self._descriptor, piece) :]
