"""Whose image is decoded and predicted next, so that neither large images nor busy clients hold all workers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

MUCH = 1_000_000
"""Work from which on an image counts as a large one, in pixels."""

_SECONDS_OF_PIXEL = 4e-8
_SECONDS_OF_MODEL = 0.02
_PATIENCE = 4  # how many times the seconds that it takes an image may wait for smaller ones that came later


class GivenUp(Exception):
    """The image is no longer waited for."""


@dataclass(eq=False)
class _Turn:
    due: float
    is_large: bool
    begun: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Turns:
    """Lets so many predictions run at once, and one more of a small image while all of these have large ones.

    An image is due by when it came, by its work, and by how many images of its client are waiting or running: those
    that cost little and those of clients that ask for little come first, and none waits for ever.

    Used from one event loop.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._waiting: list[_Turn] = []
        self._running: list[_Turn] = []
        self._of_client: Counter[str] = Counter()

    @property
    def large_ones_waiting(self) -> int:
        """How many large images wait for their turn."""
        return sum(turn.is_large for turn in self._waiting)

    @asynccontextmanager
    async def turn(self, work: float, client: str, given_up: asyncio.Future[None]) -> AsyncIterator[None]:
        """Wait until it is this image's turn, and have it while the block runs.

        Args:
            work: what the image costs, in pixels.
            client: who sent it.
            given_up: done when the image is no longer waited for.

        Raises:
            GivenUp: that was before its turn.
        """
        self._of_client[client] += 1
        seconds = _SECONDS_OF_MODEL + _SECONDS_OF_PIXEL * work
        turn = _Turn(time.monotonic() + _PATIENCE * seconds * self._of_client[client], work > MUCH)
        self._waiting.append(turn)
        try:
            self._begin()
            await asyncio.wait((turn.begun, given_up), return_when=asyncio.FIRST_COMPLETED)
            if not turn.begun.done():
                raise GivenUp
            yield
        finally:
            (self._running if turn in self._running else self._waiting).remove(turn)
            self._of_client[client] -= 1
            self._of_client += Counter()  # drops those that have none
            self._begin()

    def _begin(self) -> None:
        while ready := self._ready():
            turn = min(ready, key=lambda it: it.due)
            self._waiting.remove(turn)
            self._running.append(turn)
            turn.begun.set_result(None)

    def _ready(self) -> list[_Turn]:
        """Choose those that wait and may begin."""
        if len(self._running) < self._workers:
            return self._waiting
        held = len(self._running) == self._workers and all(turn.is_large for turn in self._running)
        return [turn for turn in self._waiting if held and not turn.is_large]
