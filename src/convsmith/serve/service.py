"""The model behind the server: loaded once, run by a bounded pool of threads, for a bounded number of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from convsmith.bundle.budget import weigh
from convsmith.bundle.decode import ImageError, ImageTooLarge, NoAnswer, read_stream
from convsmith.bundle.predictor import Bundle, load
from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores
from convsmith.serve.problems import Problem
from convsmith.serve.turns import MUCH, Turns

Answer = TypeVar("Answer")

MAX_WORKERS = 4


class Service:
    """Answers requests from one event loop.

    Args:
        bundle_path: the bundle's folder.
        workers: how many images are decoded and predicted at the same time.
        threads: how many threads the model may use for each.
        max_waiting: how many more requests may be in the house; others are told to come again, and already those of
            large images where a quarter as many of these wait.
        max_pixels: how much work a decoded image may be, in pixels of an ordinary one.

    Attributes:
        bundle: the model, once it is loaded and has run once.
        failure: why it could not be loaded.
        stopping: set when no new work is to be taken.
        active: requests that are being received, waiting or running.
    """

    def __init__(self, bundle_path: Path, workers: int, threads: int, *, max_waiting: int, max_pixels: int) -> None:
        self._path, self._threads = bundle_path, threads
        self._limit, self._max_large, self._max_pixels = workers + max_waiting, max_waiting // 4, max_pixels
        self._turns = Turns(workers)
        self._pool = ThreadPoolExecutor(workers + 2, "predict")  # another small image, and one that is weighed
        self.bundle: Bundle | None = None
        self.failure: Exception | None = None
        self.stopping = False
        self.active = 0

    async def load(self) -> None:
        """Load the bundle without blocking the event loop; what goes wrong is kept in `failure`."""
        try:
            self.bundle = await asyncio.get_running_loop().run_in_executor(self._pool, load, self._path, self._threads)
        except Exception as error:
            self.failure = error

    def check_ready(self) -> Bundle:
        """The loaded bundle; a `Problem` of status 503 if there is none, or no new work is taken."""
        if self.stopping:
            raise _unavailable("the server is stopping")
        if self.failure:
            raise _unavailable("the model cannot be loaded")
        if self.bundle is None:
            raise _unavailable("the model is being loaded")
        return self.bundle

    @contextmanager
    def admitted(self) -> Iterator[Bundle]:
        """Count one request in while the block runs; a `Problem` of status 503 if there are too many."""
        bundle = self.check_ready()
        if self.active >= self._limit:
            raise _unavailable(f"{self.active} requests are being answered")
        self.active += 1
        try:
            yield bundle
        finally:
            self.active -= 1

    async def run(self, file: BinaryIO, client: str, predict: Callable[[bytes], Answer]) -> Answer:
        """Decode and predict an uploaded file in the pool, when it is its turn.

        Args:
            file: what was uploaded.
            client: who sent it.
            predict: gets the content.

        Raises:
            Problem: 413 an image that is too much work, 415 not a readable image, 500 one that the model cannot
                answer, 503 too many large images wait.
        """
        name, pool = "the uploaded file", asyncio.get_running_loop().run_in_executor
        try:
            # read twice, since those that wait would fill the memory
            work = await pool(self._pool, lambda: weigh(read_stream(file, name), name, self._max_pixels))
            if work > MUCH and self._turns.large_ones_waiting >= self._max_large:
                raise _unavailable(f"{self._turns.large_ones_waiting} large images are waiting")
            async with self._turns.turn(work, client):
                return await pool(self._pool, lambda: predict(read_stream(file, name)))
        except ImageTooLarge as error:
            raise Problem(413, error.what, error.why, error.fix) from error
        except NoAnswer as error:
            raise Problem(500, error.what, error.why, error.fix) from error
        except ImageError as error:
            raise Problem(415, error.what, error.why, error.fix) from error

    def close(self) -> None:
        """Take no more work."""
        self.stopping = True
        self._pool.shutdown(wait=False, cancel_futures=True)


def share_cores(workers: int | None, threads: int | None, cores: int | None = None) -> tuple[int, int]:
    """Workers and threads of each that together take no more than the cores; None leaves the choice here.

    Raises:
        ConvsmithError: what was asked for needs more cores than there are.
    """
    cores = cores or available_cores()
    if workers is None:
        workers = max(1, min(MAX_WORKERS, cores // (threads or 1)))
    if threads is None:
        threads = max(1, cores // workers)
    if workers * threads > cores:
        raise ConvsmithError(
            f"--workers {workers} with --threads {threads} takes {workers * threads} cores",
            f"this process may use {cores}",
            "Lower --workers or --threads; more threads than cores only slow each other down.",
        )
    return workers, threads


def _unavailable(why: str) -> Problem:
    return Problem(503, "not ready", why, "Try again in a moment.", {"Retry-After": "1"})
