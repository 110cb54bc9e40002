"""The base of all tracking services: they follow metrics.jsonl, and cannot hold or harm the training.

A service is one file of `trackers/` that has a `TRACKER`, which makes one from the environment; nothing else lists it.
Its name is that of the file.
"""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from convsmith.errors import counted
from convsmith.training.observers.base import Observer, Record
from convsmith.training.run import Run

logger = logging.getLogger(__name__)

END_SECONDS = 120
"""How long a finished run waits for what is still to be sent, its bundle too."""

STOP_SECONDS = 10
"""The same for a run that ends before its time: whoever stops it may not wait long."""

PAUSE_SECONDS = 10
"""How long a service that failed is left alone."""


class Tracker(Observer):
    """Sends a service what metrics.jsonl holds and the service does not, from a thread: no answer is waited for.

    The file is the queue, so nothing has to be dropped: the records that a failure or a slow answer kept back go with
    the next ones, and those of a run that goes on are sent once. Whatever the service raises becomes a warning.
    """

    service: str
    """The name of the service in messages."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    @abstractmethod
    def follow(self, run: Run) -> None:
        """Connect if need be, and send the run's records that the service does not have."""

    @abstractmethod
    def forget(self, run: Run, kept: Sequence[dict[str, Any]]) -> None:
        """Let all that was sent besides these records be sent again: the run went back to where they end."""

    @abstractmethod
    def finish(self, run: Run) -> None:
        """Send the bundle, unless the service has it, and say that the run is complete; follows `follow`."""

    @abstractmethod
    def stop(self) -> None:
        """Say that the run ended before its time, and disconnect; follows `follow`."""

    def begin(self, run: Run) -> None:
        """Start the thread, which connects and catches up."""
        if self._thread is not None and self._thread.is_alive():
            logger.warning("%s still does not answer: nothing of %s is sent to it", self.service, run.path)
            return
        self._run = run
        self._news, self._ending = threading.Event(), threading.Event()
        self._kept: deque[Sequence[dict[str, Any]]] = deque()  # of each time that the run went back
        self._sent = 0  # records
        self._complete = self._failing = False
        self._thread = threading.Thread(target=self._work, name=self.service, daemon=True)
        self._thread.start()
        self._news.set()

    def metrics(self, record: Record) -> None:  # noqa: ARG002 - metrics.jsonl holds it
        """Let the thread catch up."""
        if self._thread is not None:
            self._news.set()

    def roll_back(self, step: int, evaluated_step: int) -> None:  # noqa: ARG002 - metrics.jsonl knows them
        """Let the thread forget what does not count any more, before it sends what is done again."""
        if self._thread is not None:
            self._kept.append(self._records())

    def end(self, run: Run) -> None:  # noqa: ARG002 - it is the one that began
        """Catch up and send the bundle, for two minutes at most."""
        self._complete = True
        self._leave(END_SECONDS)

    def close(self) -> None:
        """Catch up and disconnect, for ten seconds at most."""
        self._leave(STOP_SECONDS)

    def _records(self) -> Sequence[dict[str, Any]]:
        """The run's records, for the main thread, which a file that cannot be read does not end: the sending fails."""
        try:
            return self._run.metrics
        except OSError:
            return ()

    def _leave(self, seconds: float) -> None:
        """Let the thread end, and say what it did not send in that time."""
        if self._thread is None or self._ending.is_set():
            return
        self._ending.set()
        self._news.set()
        self._thread.join(seconds)
        late = self._thread.is_alive()
        if not (late or self._failing):
            return
        records = len(self._records())
        lacking = f"{records - self._sent} of {counted(records, 'record')}" + self._complete * ", and the bundle"
        why = f", which did not answer within {seconds:g} seconds" if late else ""
        logger.warning("%s lacks a part of this run (%s)%s; the same command sends it", self.service, lacking, why)

    def _work(self) -> None:
        """Catch up whenever there is news, until the run ends."""
        while not self._ending.is_set():
            self._news.wait()
            self._news.clear()
            if self._failing and self._ending.wait(PAUSE_SECONDS):
                break
            self._try(self._catch_up)
        self._try(self._send_the_last)

    def _send_the_last(self) -> None:
        self._catch_up()
        if self._complete:
            self.finish(self._run)
        else:
            self.stop()

    def _catch_up(self) -> None:
        while self._kept:
            kept = self._kept.popleft()
            self.forget(self._run, kept)
            self._sent = min(self._sent, len(kept))
        records = len(self._run.metrics)
        self.follow(self._run)
        self._sent = records

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a service has errors of many kinds, and none is worth a training
            if not self._failing:
                reason = str(error).strip().partition("\n")[0]
                logger.warning("%s cannot be reached, the training goes on without: %s", self.service, reason)
            self._failing = True
        else:
            self._failing = False


def named_values(line: dict[str, Any]) -> dict[str, float]:
    """The figures of a line of metrics.jsonl, as SPLIT/NAME."""
    return {f"{line['split']}/{name}": value for name, value in line.items() if name not in ("step", "epoch", "split")}


def make_tracker(name: str) -> Tracker:
    """The tracking service of that name, one of `list_trackers()`, as the environment describes it.

    Raises:
        ModuleNotFoundError: its package is not installed.
    """
    made: Tracker = import_module(f"convsmith.training.observers.trackers.{name}").TRACKER()
    return made
