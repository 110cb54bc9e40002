"""A model whose calls take few threads each, and more where one is alone. Needs no torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.runtime import Runtime, run_with_embeddings

_GAIN = 1.15  # times as fast that a call must be alone: the model is in memory twice
_SHORT = 0.001  # seconds of an answer of which fewer are not noticed: decoding its image takes more
_ROUNDS, _SECONDS = 3, 0.5  # at least, and for how long others follow while the gain does not show: beside other work


class Lending:
    """A model that is open twice: callers that come together get their own threads, one that is alone those of all.

    On many threads an image is answered sooner, on one each more images are answered in all.

    Args:
        narrow: takes so few threads that all callers may run at once.
        wide: takes the threads of all of them.
    """

    def __init__(self, narrow: Runtime, wide: Runtime) -> None:
        self._narrow, self._wide = narrow, wide
        self._lock = Lock()
        self._running = 0

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, K], or [N, K, H, W], of images [N, 3, H, W] in 0 to 255."""
        with self._chosen() as runtime:
            return runtime.run(images)

    def run_with_embeddings(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The logits of images, and their embeddings [N, D]; a ConvsmithError where the model has none."""
        with self._chosen() as runtime:
            return run_with_embeddings(runtime, images)

    @contextmanager
    def _chosen(self) -> Iterator[Runtime]:
        with self._lock:
            alone = not self._running
            self._running += 1
        try:
            yield self._wide if alone else self._narrow
        finally:
            with self._lock:
                self._running -= 1


def lending_if_faster(narrow: Runtime, wide: Runtime, image: NDArray[np.uint8]) -> Runtime:
    """Both as one, where the wide one answers an image [1, C, H, W] so much sooner that it is worth its memory."""
    runtimes = narrow, wide
    for runtime in runtimes:
        runtime.run(image)  # the first run takes memory
    rounds, end = list[list[float]](), time.monotonic() + _SECONDS
    while len(rounds) < _ROUNDS or time.monotonic() < end:
        rounds.append([_seconds(runtime, image) for runtime in runtimes])
        of_narrow, of_wide = (min(seconds) for seconds in zip(*rounds, strict=True))
        if len(rounds) >= _ROUNDS and of_narrow < _SHORT:
            break
        if len(rounds) >= _ROUNDS and of_narrow > _GAIN * of_wide:
            return Lending(narrow, wide)
    return narrow


def _seconds(runtime: Runtime, image: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    runtime.run(image)
    return time.perf_counter() - start
