"""Ctrl-C, SIGTERM and SIGUSR1 ask a run to stop at the next step edge; the handler itself only takes a note."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGUSR1"):  # not on Windows
    _SIGNALS.append(signal.SIGUSR1)  # what schedulers such as Slurm send before the time is up


class StopRequest:
    """A context in which SIGINT, SIGTERM and SIGUSR1 set `signal` instead of ending the process; the first one counts.

    A second signal of the same kind acts as usual, for those who cannot wait; a second SIGUSR1 says nothing new.
    Outside the main thread, where Python allows no handlers, nothing is changed.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __bool__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def _note(self, number: int, _frame: FrameType | None) -> None:
        came = signal.Signals(number)
        self.signal = self.signal or came
        if came in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._previous[came])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
