"""The model behind the server: loaded once, run by a bounded pool of threads, for a bounded number of requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO, TypeVar

from fastapi import Request

from convsmith.bundle.images.budget import weigh
from convsmith.bundle.images.image_error import ImageError, ImageTooLarge, NoAnswer
from convsmith.bundle.images.read_bytes import read_stream
from convsmith.bundle.predictor import Bundle
from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores
from convsmith.serve.problems import Problem
from convsmith.serve.turns import MUCH, Turns
from convsmith.serve.upload import client_left
from convsmith.serve.uploads import Uploads
from convsmith.spec import RGB

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

MAX_WORKERS = 4


class Service:
    """Answers requests from one event loop.

    Args:
        open_bundle: loads the model.
        workers: how many images are decoded and predicted at the same time.
        max_waiting: how many more requests may be in the house; others get 503, and already those of
            large images where a quarter as many of these wait.
        max_pixels: how much work a decoded image may be, in pixels of an ordinary one.

    Attributes:
        bundle: the model, once it is loaded and has run once.
        failure: why it could not be loaded.
        failure_is_told: whether somebody else says so; the log does otherwise.
        leaving: set when clients are to turn to another server.
        stopping: set when no new work is to be taken.
        uploads: requests that are being received.
        active: requests that are waiting or running.
    """

    def __init__(self, open_bundle: Callable[[], Bundle], workers: int, *, max_waiting: int, max_pixels: int) -> None:
        self._open_bundle = open_bundle
        self._limit, self._max_large, self._max_pixels = workers + max_waiting, max_waiting // 4, max_pixels
        self._turns = Turns(workers)
        self._pool = ThreadPoolExecutor(2, "weigh")
        self.bundle: Bundle | None = None
        self.failure: Exception | None = None
        self.failure_is_told = False
        self.leaving = self.stopping = False
        self.uploads = Uploads()
        self.active = 0
        self._loading: asyncio.Task[None] | None = None

    def start_loading(self) -> asyncio.Task[None]:
        """Load the bundle without blocking the event loop, once; what goes wrong is kept in `failure`.

        An application that is mounted in another one begins with its first request.
        """
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        return self._loading

    async def _load(self) -> None:
        try:
            self.bundle = await asyncio.get_running_loop().run_in_executor(self._pool, self._open_bundle)
        except Exception as error:
            self.failure = error
            if not self.failure_is_told:
                logger.error("%s", error, exc_info=not isinstance(error, ConvsmithError))

    def check_alive(self) -> None:
        """A `Problem` of status 503 if the server can never answer a prediction."""
        if self.failure:
            raise _unavailable("the model cannot be loaded; the server's log says why")

    def ready(self) -> Bundle:
        """The bundle; a `Problem` of status 503 if no predictions are to be sent here: not yet, or not any more."""
        if self.leaving:
            raise _unavailable("the server is stopping")
        return self.loaded()

    def loaded(self) -> Bundle:
        """The bundle; a `Problem` of status 503 if there is none, if no new work is taken, or if there is too much."""
        if self.stopping:
            raise _unavailable("the server is stopping")
        self.check_alive()
        if self.bundle is None:
            raise _unavailable("the model is being loaded")
        self._check_room()
        return self.bundle

    def _check_room(self) -> None:
        if self.active >= self._limit:
            raise _unavailable(f"{self.active} requests are being answered")

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a received request while the block runs; a `Problem` of status 503 if there are too many."""
        self._check_room()
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1

    async def run(self, file: BinaryIO, request: Request, predict: Callable[[bytes], Answer]) -> Answer:
        """Decode and predict an uploaded file in the pool, when it is its turn and its client is still there.

        Args:
            file: what was uploaded.
            request: what it came with.
            predict: gets the content.

        Raises:
            Problem: 413 an image that is too much work, 415 not a readable image, 500 one that the model cannot
                answer, 503 too many large images wait.
        """
        name, pool = "the uploaded file", asyncio.get_running_loop().run_in_executor
        client = request.client.host if request.client else ""
        left = asyncio.create_task(client_left(request))
        try:
            # read twice, since those that wait would fill the memory
            bands = self.bundle.manifest.preprocess.bands if self.bundle else RGB
            work = await pool(self._pool, lambda: weigh(read_stream(file, name), name, self._max_pixels, bands))
            if work > MUCH and self._turns.large_ones_waiting >= self._max_large:
                raise _unavailable(f"{self._turns.large_ones_waiting} large images are waiting")
            answer = self._turns.submit(lambda: predict(read_stream(file, name)), work, client)
            left.add_done_callback(lambda _: answer.cancel())
            return await asyncio.wrap_future(answer)
        except asyncio.CancelledError as error:
            if not left.done() or left.cancelled():
                raise
            raise Problem(400, "the client has left") from error
        except ImageTooLarge as error:
            raise Problem(413, error.what, error.why, error.fix) from error
        except NoAnswer as error:
            raise Problem(500, error.what, error.why, error.fix) from error
        except ImageError as error:
            raise Problem(415, error.what, error.why, error.fix) from error
        finally:
            left.cancel()

    def stop(self, upload_seconds: float) -> None:
        """Take no new requests; those that are on their way have so many seconds to come in."""
        self.leaving = self.stopping = True
        self.uploads.end_within(upload_seconds)

    @property
    def idle(self) -> bool:
        """Whether there is no request to be answered."""
        return not self.active and not self.uploads

    def close(self) -> None:
        """Take no more work."""
        self.leaving = self.stopping = True
        self._turns.close()
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
