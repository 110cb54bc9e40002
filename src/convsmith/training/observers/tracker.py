"""What all tracking services have in common: they follow metrics.jsonl, and cannot harm the training."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from convsmith.training.observers.base import Observer, Record
from convsmith.training.run import Run

logger = logging.getLogger(__name__)

PATIENCE = 10
"""A service that failed is left alone for this many times as long as its failure took: it costs a tenth at most."""


class Tracker(Observer):
    """Sends a service what metrics.jsonl holds and the service does not.

    The file is the truth, so records that a failure kept back go with the next ones, and those of a run that goes on
    are sent once. Whatever the service raises becomes a warning.
    """

    service: str
    """What messages call it."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._next_try = 0.0
        self._failing = False

    @abstractmethod
    def follow(self, run: Run) -> None:
        """Connect if need be, and send the run's records that the service does not have."""

    @abstractmethod
    def finish(self, run: Run) -> None:
        """Send the bundle, unless the service has it, and say that the run is complete; follows `follow`."""

    @abstractmethod
    def stop(self) -> None:
        """Say that the run ended before its time, if `finish` has not been through, and disconnect."""

    def begin(self, run: Run) -> None:
        """Connect and catch up."""
        self._run = run
        self._try(lambda: self.follow(run))

    def metrics(self, record: Record) -> None:  # noqa: ARG002 - metrics.jsonl holds it
        """Catch up."""
        if (run := self._run) and time.monotonic() >= self._next_try:
            self._try(lambda: self.follow(run))

    def end(self, run: Run) -> None:
        """Catch up and send the bundle."""

        def all_of_it() -> None:
            self.follow(run)
            self.finish(run)

        self._try(all_of_it)
        if self._failing:
            logger.warning("%s lacks a part of this run; the same command sends it", self.service)

    def close(self) -> None:
        """Disconnect."""
        if not self._failing:
            self._try(self.stop)

    def _try(self, action: Callable[[], None]) -> None:
        start = time.monotonic()
        try:
            action()
        except Exception as error:  # a service has errors of many kinds, and none is worth a training
            if not self._failing:
                reason = str(error).strip().partition("\n")[0]
                logger.warning("%s cannot be reached, the training goes on without: %s", self.service, reason)
            self._failing = True
            now = time.monotonic()
            self._next_try = now + PATIENCE * (now - start)
        else:
            self._failing = False


def named_values(line: dict[str, Any]) -> dict[str, float]:
    """The figures of a line of metrics.jsonl, as SPLIT/NAME."""
    return {f"{line['split']}/{name}": value for name, value in line.items() if name not in ("step", "epoch", "split")}
