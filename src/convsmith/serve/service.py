"""The model behind the server: loaded once, run by a bounded pool of threads, for a bounded number of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from convsmith.bundle.decode import ImageError, ImageTooLarge, NoAnswer
from convsmith.bundle.predictor import Bundle, load
from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores
from convsmith.serve.problems import Problem

Answer = TypeVar("Answer")

MAX_WORKERS = 4


class Service:
    """Answers requests from one event loop.

    Args:
        bundle_path: the bundle's folder.
        workers: how many images are decoded and predicted at the same time.
        threads: how many threads the model may use for each.
        max_waiting: how many more requests may be in the house; others are told to come again.

    Attributes:
        bundle: the model, once it is loaded and has run once.
        failure: why it could not be loaded.
        stopping: set when no new work is to be taken.
        active: requests that are being received, waiting or running.
    """

    def __init__(self, bundle_path: Path, workers: int, threads: int, max_waiting: int) -> None:
        self._path, self._threads = bundle_path, threads
        self._limit = workers + max_waiting
        self._pool = ThreadPoolExecutor(workers, "predict")
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

    async def run(self, predict: Callable[[], Answer]) -> Answer:
        """Decode and predict an uploaded file in the pool.

        Raises:
            Problem: 413 an image of too many pixels, 415 not a readable image, 500 one that the model cannot answer.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, predict)
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
