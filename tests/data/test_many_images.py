"""Memory for as many images as there may be, measured with an index of images that are on no disk."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.data.checks.check import look
from convsmith.data.checks.look import Seen
from convsmith.data.checks.near import Images, find_near
from convsmith.data.checks.signs import suspicious
from convsmith.data.dataset import Samples
from convsmith.spec import Bands

COUNT = 60_000


@dataclass(frozen=True)
class Imagined:
    """Samples, as far as a look needs them, with nothing behind them."""

    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def targets(self) -> NDArray[np.int64]:
        return self.numbers % 10

    @property
    def names(self) -> NDArray[np.uint64]:
        return self.numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)

    @property
    def stats(self) -> NDArray[np.int64]:
        return np.ones((len(self), 1, 2), np.int64)

    def name(self, i: int) -> str:
        return f"{self.numbers[i]}.png"

    def look(self, i: int, decode: bool, bands: Bands) -> Seen:
        number = int(self.numbers[i])
        return Seen(480, 640, (number + 1,), ("JPEG", "RGB"))

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Imagined:
        return Imagined(self.numbers[indices])


def bytes_of_each(do: Callable[[], object]) -> float:
    """The most memory that it takes at once, over the number of images."""
    tracemalloc.start()
    do()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / COUNT


def test_a_look_at_many_images_takes_few_bytes_of_each(tmp_path: Path) -> None:
    samples = cast(Samples, Imagined(np.arange(COUNT)))
    assert bytes_of_each(lambda: suspicious(look(samples, True, processes=1, with_prints=True).rows)) < 300


@pytest.mark.slow  # test_a_search_among_many_alike_images_takes_no_more is its quick sibling
def test_a_search_among_many_hashes_takes_few_bytes_of_each() -> None:
    random = np.random.default_rng(0)
    images = Images(
        hashes=random.integers(0, 2**64, COUNT, dtype=np.uint64),
        features=random.integers(0, 256, (COUNT, 48), dtype=np.uint8),
        judged=np.arange(COUNT) % 5 == 0,
        targets=np.arange(COUNT) % 10,
        contents=np.arange(COUNT, dtype=np.uint64),
        mirrored=random.integers(0, 2**64, COUNT, dtype=np.uint64),
    )
    assert bytes_of_each(lambda: find_near(images)) < 600


def test_of_many_alike_images_all_are_found() -> None:
    judged, targets = np.array([False] * 300 + [True] * 300), np.array([0, 1, 1] * 200)
    images = Images(
        hashes=np.full(600, 12345, np.uint64),
        features=np.zeros((600, 48), np.uint8),
        judged=judged,
        targets=targets,
        contents=np.arange(600, dtype=np.uint64),
    )
    found = find_near(images)
    leaked, unlike, repeated = found.partners
    assert (leaked[judged] < 300).all()
    assert (leaked[judged] >= 0).all()
    assert (targets[unlike] != targets).all()
    assert (repeated >= 0).sum() == 600 - 4  # but for the first one of each class and split
    assert (targets[repeated] == targets)[repeated >= 0].all()


def test_a_search_among_many_alike_images_takes_no_more() -> None:
    """Such as the frames of a film that stands still."""
    images = Images(
        hashes=np.full(COUNT, 12345, np.uint64),
        features=np.random.default_rng(0).integers(0, 256, (1, 48), dtype=np.uint8).repeat(COUNT, axis=0),
        judged=np.arange(COUNT) % 5 == 0,
        targets=np.arange(COUNT) % 10,
        contents=np.arange(COUNT, dtype=np.uint64),
    )
    assert bytes_of_each(lambda: find_near(images)) < 1000
