"""Models run here: so many at once as the cores take, and on several images that wait, where that pays."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from threading import Condition
from typing import TypeVar
from weakref import WeakKeyDictionary

from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.predictor import Bundle
from convsmith.serve.asked import Asked
from convsmith.serve.batch_trial import ONE_BY_ONE, Batches, try_batches

T = TypeVar("T")


@dataclass(eq=False)
class _Entry:
    asked: Asked
    came: float = field(default_factory=time.perf_counter)
    done: Future[None] = field(default_factory=Future)


class Lanes:
    """Threads that run models on preprocessed images, those first that came first.

    Args:
        lanes: how many models run at once.
        max_batch: how many images of a model run together at most; 1: each alone.
        max_delay: seconds that a batch which is not full waits for more of them.
    """

    def __init__(self, lanes: int, max_batch: int = 1, max_delay: float = 0.0) -> None:
        self._lanes, self._max_batch, self._max_delay = lanes, max_batch, max_delay
        self._pool = ThreadPoolExecutor(lanes, "infer")
        self._changed = Condition()
        self._waiting: deque[_Entry] = deque()
        self._batches: WeakKeyDictionary[Bundle, Batches] = WeakKeyDictionary()

    def add(self, bundle: Bundle) -> None:
        """Find out whether batches pay for a model; until then its images run one by one."""
        self._batches[bundle] = try_batches(bundle, self._lanes, self._max_batch)

    def batches(self, bundle: Bundle) -> Batches:
        """How images of a model run."""
        return self._batches.get(bundle, ONE_BY_ONE)

    @property
    def ahead(self) -> int:
        """How many images are prepared while all lanes are taken: what each of them goes on with, without a pause."""
        return self._lanes * max([1, *(it.most for it in list(self._batches.values()))])

    def answer(self, asked: Asked) -> None:
        """Let its model answer a preprocessed image, and wait until it has.

        Raises:
            ImageError: the model cannot answer it.
            Problem: the client has left before it was begun.
        """
        entry = _Entry(asked)
        with self._changed:
            self._waiting.append(entry)
            self._changed.notify_all()
        self._pool.submit(self._run)
        entry.done.result()

    def run(self, asked: Asked, infer: Callable[[], T]) -> T:
        """Let a model run otherwise than on one image of each request, and wait until it has."""
        came = time.perf_counter()

        def run() -> T:
            asked.check_wanted()
            asked.note("queue", time.perf_counter() - came)
            with asked.timed("inference"):
                return infer()

        return self._pool.submit(run).result()

    def close(self) -> None:
        """Take nothing more; what waits is still answered."""
        self._pool.shutdown(wait=False)

    def _run(self) -> None:
        with self._changed:
            batch = self._take()
        wanted = [entry for entry in batch if self._is_wanted(entry)]
        if wanted:
            self._run_together(wanted)

    def _take(self) -> list[_Entry]:
        """The first that waits, and others of its model; none where an earlier batch had them all."""
        while self._waiting:
            first = self._waiting[0].asked.bundle
            most = self.batches(first).most
            batch = list(islice((it for it in self._waiting if it.asked.bundle is first), most))
            left = batch[0].came + self._max_delay - time.perf_counter()
            if len(batch) == most or left <= 0:
                for entry in batch:
                    self._waiting.remove(entry)
                return batch
            self._changed.wait(left)
        return []

    @staticmethod
    def _is_wanted(entry: _Entry) -> bool:
        """Whether it has not been given up; where it has, its turn ends with that."""
        try:
            entry.asked.check_wanted()
        except Exception as problem:
            entry.done.set_exception(problem)
        return not entry.done.done()

    @staticmethod
    def _run_together(batch: list[_Entry]) -> None:
        start = time.perf_counter()
        asked = [entry.asked for entry in batch]
        try:
            pixels = [it.pixels for it in asked if it.pixels is not None]
            answers = asked[0].bundle.predict_together(pixels, [it.name for it in asked])
        except BaseException as error:
            for entry in batch:
                entry.done.set_exception(error)
            return
        seconds = time.perf_counter() - start
        for entry, answer in zip(batch, answers, strict=True):
            it = entry.asked
            it.batch = len(batch)
            it.note("queue", start - entry.came)
            it.starts["inference"] = start
            it.note("inference", seconds)
            if isinstance(answer, ImageError):
                entry.done.set_exception(answer)
            else:
                it.answer = answer
                entry.done.set_result(None)
