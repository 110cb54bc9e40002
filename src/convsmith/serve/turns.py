"""Whose image is decoded and predicted next, so that neither large images nor busy clients hold all workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

Answer = TypeVar("Answer")

MUCH = 1_000_000
"""Work from which on an image counts as a large one, in pixels."""

_SECONDS_OF_PIXEL = 4e-8
_SECONDS_OF_MODEL = 0.02
_PATIENCE = 4  # how many times the seconds that it takes an image may wait for smaller ones that came later


@dataclass(eq=False)
class _Turn:
    due: float
    is_large: bool
    client: str
    predict: Callable[[], Any]
    answer: Future[Any] = field(default_factory=Future)


class Turns:
    """Threads that run so many predictions at once, of which some may be ahead: prepared, waiting for a model.

    No more large images run than there are workers, so that a small one always finds a thread.

    An image is due by when it came, by its work, and by how many images of its client are waiting or running: those
    that cost little and those of clients that ask for little come first, and none waits for ever.
    """

    def __init__(self, workers: int, most_ahead: int = 1) -> None:
        self._workers = workers
        self.ahead = 1
        self._pool = ThreadPoolExecutor(workers + most_ahead, "predict")
        self._lock = Lock()
        self._waiting: list[_Turn] = []
        self._running: list[_Turn] = []
        self._of_client: Counter[str] = Counter()

    @property
    def large_ones_waiting(self) -> int:
        """How many large images wait for their turn."""
        with self._lock:
            return sum(turn.is_large for turn in self._waiting)

    def submit(self, predict: Callable[[], Answer], work: float, client: str) -> Future[Answer]:
        """Run `predict` when it is its turn; cancelling the future gives a turn up that has not begun.

        Args:
            predict: answers one image.
            work: what the image costs, in pixels.
            client: who sent it.
        """
        with self._lock:
            self._of_client[client] += 1
            seconds = _SECONDS_OF_MODEL + _SECONDS_OF_PIXEL * work
            due = time.monotonic() + _PATIENCE * seconds * self._of_client[client]
            turn = _Turn(due, work > MUCH, client, predict)
            self._waiting.append(turn)
        turn.answer.add_done_callback(lambda _: self._end(turn))
        self._pool.submit(self._run)
        return turn.answer

    def close(self) -> None:
        """Give up what waits, and take nothing more."""
        with self._lock:
            waiting = list(self._waiting)
        for turn in waiting:
            turn.answer.cancel()
        self._pool.shutdown(wait=False)

    def _run(self) -> None:
        """Run what is due until nothing may begin: the thread itself chooses, as the event loop would lose time."""
        while turn := self._begin():
            if turn.answer.set_running_or_notify_cancel():
                try:
                    answer = turn.predict()
                except BaseException as error:
                    turn.answer.set_exception(error)
                else:
                    turn.answer.set_result(answer)

    def _begin(self) -> _Turn | None:
        with self._lock:
            turn = min(self._ready(), key=lambda it: it.due, default=None)
            if turn:
                self._waiting.remove(turn)
                self._running.append(turn)
            return turn

    def _end(self, turn: _Turn) -> None:
        with self._lock:
            (self._running if turn in self._running else self._waiting).remove(turn)
            self._of_client[turn.client] -= 1
            self._of_client += Counter()  # drops those that have none

    def _ready(self) -> list[_Turn]:
        """Choose those that wait and may begin."""
        if len(self._running) >= self._workers + self.ahead:
            return []
        full = sum(turn.is_large for turn in self._running) >= self._workers
        return [turn for turn in self._waiting if not (full and turn.is_large)]
