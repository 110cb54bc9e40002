"""Whether a model answers more images a second when several run together: measured when it is loaded."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.predictor import Bundle

LONGEST = 0.05  # seconds that a batch may take: who comes with it waits for all of it
GAIN = 1.1  # times as many images a second that batches must answer
_CLOSE = 1e-3  # of the largest logit: how far an answer in a batch may be from that of the image alone
_ROUNDS = 2  # the fastest counts: others may use the machine meanwhile


@dataclass(frozen=True)
class Batches:
    """How a model takes images that wait.

    Attributes:
        most: how many run together at most.
        why: the reason, for people; empty where nothing was measured.
    """

    most: int
    why: str = ""


ONE_BY_ONE = Batches(1)


def try_batches(bundle: Bundle, lanes: int, most: int) -> Batches:
    """Measure as many runs of a model side by side as there are lanes, of one image each and of batches.

    Args:
        bundle: the model.
        lanes: how many runs there may be at once.
        most: images of a batch; fewer where these take longer than `LONGEST`.
    """
    if most == 1 or not bundle.task.one_size:
        return ONE_BY_ONE
    shape = bundle.manifest.preprocess.bands.channels, *(bundle.manifest.only_size or (64, 64))
    images = np.random.default_rng(0).integers(0, 256, (most, *shape), np.uint8)
    start = time.perf_counter()
    alone = bundle.logits(images[:1])
    seconds = time.perf_counter() - start
    size = min(most, int(LONGEST / seconds))
    if size < 2:
        return Batches(1, f"images run one by one, of which each takes {seconds:.2f} s")
    if np.abs(bundle.logits(images[:size])[0] - alone[0]).max() > _CLOSE * np.abs(alone).max():
        return Batches(1, "images run one by one, as a batch gives other answers")
    with ThreadPoolExecutor(lanes, "measure") as pool:
        rounds = [[_rate(pool, bundle, images[:size], lanes, step) for step in (1, size)] for _ in range(_ROUNDS)]
    one_by_one, batched = (max(rates) for rates in zip(*rounds, strict=True))
    rates = f"{batched:.0f} images/s instead of {one_by_one:.0f}"
    if batched < GAIN * one_by_one:
        return Batches(1, f"images run one by one: {size} together would be {rates}")
    return Batches(size, f"up to {size} images that wait run together: {rates}")


def _rate(pool: ThreadPoolExecutor, bundle: Bundle, images: NDArray[np.uint8], lanes: int, step: int) -> float:
    """Images a second, in runs of `step` images each, as many side by side as there are lanes."""

    def run(_: int) -> None:
        for start in range(0, len(images), step):
            bundle.logits(images[start : start + step])

    start = time.perf_counter()
    list(pool.map(run, range(lanes)))
    return lanes * len(images) / (time.perf_counter() - start)
