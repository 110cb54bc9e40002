"""The house behind the addresses: a bounded pool of threads that answer a bounded number of requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, TypeVar

import numpy as np
from anyio import to_thread
from fastapi import Response
from numpy.typing import NDArray

from convsmith.bundle.images.budget import served_pixels, weigh
from convsmith.bundle.images.image_error import ImageError, ImageTooLarge, NoAnswer
from convsmith.bundle.images.read_bytes import read_stream
from convsmith.bundle.predictor import Bundle
from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores
from convsmith.serve.asked import Asked, Watcher
from convsmith.serve.cams import Cams
from convsmith.serve.fetch import Fetcher
from convsmith.serve.lanes import Lanes
from convsmith.serve.models import Model, Models
from convsmith.serve.problems import Problem, unavailable
from convsmith.serve.request_record import current
from convsmith.serve.settings import Settings
from convsmith.serve.turns import MUCH, Turns
from convsmith.serve.uploads import Uploads
from convsmith.serve.waiting import Waiting

T = TypeVar("T")

MAX_WORKERS = 4
CLOSER_SECONDS = 2

Left = asyncio.Future[None]
"""Done when the client is gone; cancelled when the request has ended."""

Render = Callable[[Asked], Response]


class Service:
    """Answers requests from one event loop.

    Args:
        models: what answers.
        settings: how much at a time.

    Attributes:
        models: likewise.
        settings: likewise.
        watchers: called with each question that has ended.
        closers: called at the end, in threads; each may take `CLOSER_SECONDS`.
        leaving: set when clients are to turn to another server.
        stopping: set when no new work is to be taken.
        lanes: where models run.
        uploads: requests that are being received.
        cams: what shows where they look.
        fetcher: gets images that are somewhere else.
        active: requests that are waiting or running.
        grpc_port: the one that answers gRPC; None: none does.
    """

    def __init__(self, models: Models, settings: Settings) -> None:
        workers, threads = share_cores(settings.workers, settings.threads)
        self.models, self.settings = models, settings
        self._max_pixels = served_pixels(settings.max_pixels)
        self._limit, self._max_large = workers + settings.max_waiting, settings.max_waiting // 8
        self.lanes = Lanes(workers, settings.max_batch, settings.max_delay)
        self.cams = Cams(threads)
        self._turns = Turns(workers, workers * settings.max_batch)
        self._pool = ThreadPoolExecutor(2, "weigh")
        self._waiting = Waiting(workers)
        self.watchers: list[Watcher] = [lambda asked, _: self._waiting.note(asked)]
        self.closers: list[Callable[[], None]] = []
        self.leaving = self.stopping = False
        self.uploads, self.fetcher = Uploads(), Fetcher(settings.allow_urls)
        self.active = 0
        self.grpc_port: int | None = None
        self._loading: asyncio.Task[None] | None = None

    def add(self, bundle: Bundle) -> None:
        """Find out how images of a model run best, before it answers any; takes a fraction of a second."""
        self.lanes.add(bundle)
        self._turns.ahead = self.lanes.ahead

    def start_loading(self) -> asyncio.Task[None]:
        """Load the models without blocking the event loop, once.

        An application that is mounted in another one begins with its first request.
        """
        if self._loading is None:
            self._loading = asyncio.create_task(self.models.run(self._pool))
        return self._loading

    def check_alive(self) -> None:
        """A `Problem` of status 503 if the server can never answer a prediction."""
        if self.models.failure:
            raise unavailable("the model cannot be loaded; the server's log says why")

    def check_ready(self) -> None:
        """A `Problem` of status 503 if no predictions are to be sent here: not yet, or not any more."""
        if self.leaving:
            raise unavailable("the server is stopping")
        if not self.models.settled:
            raise unavailable("the model is being loaded")
        self.check_alive()
        if not any(model.usable for model in self.models):
            raise unavailable("no model is loaded")
        self._check_room()

    async def find(self, name: str | None = None, version: str | None = None) -> tuple[Model, Bundle]:
        """The model that is asked, and its bundle, which is waited for if it was put out of memory.

        Raises:
            Problem: 404 there is none of that name and version, 503 it is not loaded, no new work is taken, too
                much waits already, or it would wait too long.
        """
        if self.stopping:
            raise unavailable("the server is stopping")
        model = self.models.find(name, version)
        if record := current.get():
            record.model = model
        bundle = await self.models.awake(model, self._pool)
        self._check_room()
        return model, bundle

    def _check_room(self) -> None:
        seconds = self._waiting.expected(self.active)
        if self.active >= self._limit:
            raise unavailable(f"{self.active} requests are being answered", seconds)
        if seconds > self.settings.max_wait:
            raise unavailable(f"{self.active} requests are being answered, which takes {seconds:.1f} seconds", seconds)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a received request while the block runs; a `Problem` of status 503 if there are too many."""
        self._check_room()
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1

    async def load(self, name: str) -> list[Model]:
        """Load all versions of a model, again where they are in memory, and return them; their `failure` may say more.

        Raises:
            Problem: 404 there is none of that name.
        """
        await self.models.look(self._pool, at_once=True)
        versions = self.models.versions(name)
        for model in versions:
            model.unloaded = False
            await self.models.load(model, self._pool)
        return versions

    async def unload(self, name: str) -> None:
        """Put all versions of a model out of memory until they are loaded; a `Problem` of status 404 without any."""
        for model in self.models.versions(name):
            await self.models.unload(model)

    async def aside(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function beside the event loop, in one of few threads that neither decode images nor answer them."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    async def ask_file(self, asked: Asked, file: BinaryIO, left: Left, render: Render) -> Response:
        """Let a model answer an uploaded image when it is its turn, while somebody waits for it.

        Args:
            asked: the question.
            file: the image.
            left: done when the client is gone.
            render: makes the response of the question once it has its answer.

        Raises:
            Problem: 413 an image that is too much work, 415 not a readable image, 500 one that the model cannot
                answer, 503 too many large images wait.
        """

        def answer() -> Response:
            with asked.timed("preprocess"):
                asked.pixels = self.read(asked, file)
            self.lanes.answer(asked)
            with asked.timed("answer"):
                return render(asked)

        with self.watched(asked, file):
            return await self.ask(asked, await self.weigh(asked, file), left, answer)

    async def weigh(self, asked: Asked, file: BinaryIO) -> float:
        """The work of an image, in pixels; raises the errors of images."""

        def weigh_file() -> float:  # read twice, since those that wait would fill the memory
            content = read_stream(file, asked.name)
            return weigh(content, asked.name, self._max_pixels, asked.bundle.manifest.preprocess.bands)

        return await self.aside(weigh_file)

    def read(self, asked: Asked, file: BinaryIO) -> NDArray[np.uint8]:
        """The preprocessed image of a file; raises the errors of images."""
        return asked.bundle.preprocess(read_stream(file, asked.name), asked.name)

    async def ask(self, asked: Asked, work: float, left: Left, answer: Callable[[], T]) -> T:
        """Run what answers a question when it is its turn, unless its client leaves before that."""
        if work > MUCH and self._turns.large_ones_waiting >= self._max_large:
            raise unavailable(f"{self._turns.large_ones_waiting} large images are waiting")
        asked.starts["queue"] = queued = time.perf_counter()

        def in_turn() -> T:
            asked.note("queue", time.perf_counter() - queued)
            return answer()

        turn = asyncio.wrap_future(self._turns.submit(in_turn, work, asked.client))
        left.add_done_callback(lambda _: turn.cancel())
        try:
            found = await turn
        except asyncio.CancelledError as error:
            asked.given_up = True
            if not left.done() or left.cancelled():
                raise
            raise Problem(400, "the client has left") from error
        asked.status = 200
        return found

    @contextmanager
    def watched(self, asked: Asked, file: BinaryIO | None = None) -> Iterator[None]:
        """Let those who watch know how a question has ended; errors of its image become a `Problem`."""
        try:
            with _as_problems():
                yield
        except Problem as problem:
            asked.status = problem.status
            raise
        except asyncio.CancelledError:  # its deadline has passed
            asked.status = 504
            raise
        finally:
            for watch in self.watchers:
                watch(asked, file)

    def stop(self, upload_seconds: float) -> None:
        """Take no new requests; those that are on their way have so many seconds to come in."""
        self.leaving = self.stopping = True
        self.uploads.end_within(upload_seconds)

    async def finish(self) -> None:
        """Let those end who still have something to write or to send."""
        for close in self.closers:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSER_SECONDS):
                    await to_thread.run_sync(close, abandon_on_cancel=True)

    @property
    def idle(self) -> bool:
        """Whether there is no request to be answered."""
        return not self.active and not self.uploads

    def close(self) -> None:
        """Take no more work."""
        self.leaving = self.stopping = True
        self.models.stop()
        self._turns.close()
        self.lanes.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _as_problems() -> Iterator[None]:
    """Tell what is wrong with an image by the status of a `Problem`."""
    try:
        yield
    except ImageError as error:
        status = 413 if isinstance(error, ImageTooLarge) else 500 if isinstance(error, NoAnswer) else 415
        raise Problem(status, error.what, error.why, error.fix) from error


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
