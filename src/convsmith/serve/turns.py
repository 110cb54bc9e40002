"""Whose image is decoded and predicted next, so that neither large images nor busy clients hold all workers."""

from __future__ import annotations

import time
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
_PATIENCE = 4  # how many times the seconds that it and its client's others take it may wait for what came later


@dataclass(eq=False)
class _Turn:
    due: float
    seconds: float
    is_large: bool
    client: str
    predict: Callable[[], Any]
    answer: Future[Any] = field(default_factory=Future)


class _Queue:
    """Images of one client that wait or run."""

    def __init__(self) -> None:
        self.turns: list[_Turn] = []
        self._last = {False: 0.0, True: 0.0}

    def due(self, now: float, seconds: float, is_large: bool) -> float:
        """When one more is due: small ones do not wait for large ones, and none overtakes another of its kind."""
        before = sum(turn.seconds for turn in self.turns if is_large or not turn.is_large)
        self._last[is_large] = max(self._last[is_large], now + _PATIENCE * (before + seconds))
        return self._last[is_large]


class Turns:
    """Threads that run so many predictions at once, of which some may be ahead: prepared, waiting for a model.

    No more large images run than there are workers, so that a small one always finds a thread.

    An image is due by when it came, by its work, and by that of its client's others that wait or run: those that cost
    little and those of clients that ask for little come first, and none waits for ever. Small ones of one client keep
    their order, and so do large ones.

    Args:
        workers: images that models run on at once.
        most_ahead: the most that `ahead` may become.

    Attributes:
        ahead: how many images beside them are prepared, at least one.
    """

    def __init__(self, workers: int, most_ahead: int = 1) -> None:
        self._workers = workers
        self.ahead = 1
        self._pool = ThreadPoolExecutor(workers + most_ahead, "predict")
        self._lock = Lock()
        self._waiting: list[_Turn] = []
        self._running: list[_Turn] = []
        self._queues: dict[str, _Queue] = {}

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
        seconds = _SECONDS_OF_MODEL + _SECONDS_OF_PIXEL * work
        with self._lock:
            queue = self._queues.setdefault(client, _Queue())
            turn = _Turn(queue.due(time.monotonic(), seconds, work > MUCH), seconds, work > MUCH, client, predict)
            queue.turns.append(turn)
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
            queue = self._queues[turn.client]
            queue.turns.remove(turn)
            if not queue.turns:
                del self._queues[turn.client]

    def _ready(self) -> list[_Turn]:
        """Choose those that wait and may begin."""
        if len(self._running) >= self._workers + self.ahead:
            return []
        full = sum(turn.is_large for turn in self._running) >= self._workers
        return [turn for turn in self._waiting if not (full and turn.is_large)]
