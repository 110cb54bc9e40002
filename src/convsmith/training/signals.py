"""Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 ask a run to stop at the next step edge; the handler only takes a note."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Any

from convsmith.system import signals

logger = logging.getLogger(__name__)

_SIGNALS = signals(
    "SIGINT",
    "SIGTERM",
    "SIGUSR1",  # what schedulers such as Slurm send before the time is up
    "SIGHUP",  # the terminal is closed, or the connection to it lost
)

_PATIENCE = 1  # seconds that the last words may take


class StopNow(BaseException):
    """A signal came where nothing is lost by leaving at once; not an Exception, which others would take for theirs."""


class StopRequest:
    """A context in which signals that end a process set `signal` instead; the first one counts.

    A second Ctrl-C or SIGTERM acts as usual, for those who cannot wait; a second SIGUSR1 or SIGHUP says nothing new. A
    SIGHUP that is ignored, as `nohup` has it, stays so. Outside the main thread, where Python allows no handlers,
    nothing is changed.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._at_once = False
        self._previous: dict[signal.Signals, Any] = {}
        self._came: SimpleQueue[signal.Signals | None] = SimpleQueue()  # which a handler may put into at any time
        self._teller = threading.Thread(target=self._tell, name="signals", daemon=True)

    def __bool__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            ignored = {it for it in _SIGNALS if it.name == "SIGHUP" and signal.getsignal(it) == signal.SIG_IGN}
            self._teller.start()
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS if number not in ignored}
        return self

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal end the block by a StopNow: it takes long, and what it did need not be saved."""
        self._at_once = True
        try:
            if self:
                raise StopNow
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        came = signal.Signals(number)
        if self.signal is None:
            self._came.put(came)
        self.signal = self.signal or came
        if came in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._previous[came])
        if self._at_once:
            raise StopNow

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._teller.is_alive():
            self._came.put(None)
            self._teller.join(_PATIENCE)

    def _tell(self) -> None:
        """Say that a signal has come: what is under way may take long. A handler itself must not log."""
        if came := self._came.get():
            logger.warning("%s: the training stops as soon as it has saved what is done", came.name)
