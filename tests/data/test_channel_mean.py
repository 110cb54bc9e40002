"""Mean and standard deviation of channels, against numpy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.bundle.images.image_error import ImageError
from convsmith.data import channel_mean as module
from convsmith.data.channel_mean import MOST_IMAGES, channel_mean
from convsmith.spec import Bands


class Pictures:
    """Images in memory; None cannot be read."""

    def __init__(self, pictures: list[NDArray[np.uint8] | None]) -> None:
        self.pictures, self.read_ones = pictures, list[int]()

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, i: int, bands: Bands) -> tuple[NDArray[np.uint8], None]:
        self.read_ones.append(i)
        picture = self.pictures[i]
        if picture is None:
            raise ImageError(f"cannot read {i}", "it is empty")
        return picture, None


def found(pictures: Any) -> tuple[Any, Any]:
    return channel_mean(pictures, Bands(channels=2, range=None))


def test_they_are_those_of_all_pixels() -> None:
    random = np.random.RandomState(0)
    images = [random.randint(0, 256, (size, 7, 2)).astype(np.uint8) for size in (3, 5, 9)]
    pixels = np.concatenate([it.reshape(-1, 2) for it in images]) / 255
    mean, std = found(Pictures([None, *images, None]))
    assert mean == tuple(pixels.mean(0).round(4))
    assert std == tuple(pixels.std(0).round(4))


def test_a_channel_that_is_the_same_everywhere_has_the_least_deviation() -> None:
    assert found(Pictures([np.full((2, 2, 2), 255, np.uint8)])) == ((1, 1), (0.0039, 0.0039))


@pytest.mark.parametrize("count", [1, 2, 256, 1000])
def test_images_are_spread_evenly(count: int) -> None:
    pictures = Pictures([np.zeros((1, 1, 2), np.uint8)] * count)
    found(pictures)
    read = pictures.read_ones
    assert len(read) == min(count, MOST_IMAGES) == len(set(read))
    assert (read[0], read[-1]) == (0, count - 1)
    assert max(np.diff(read), default=1) - min(np.diff(read), default=1) <= 1


@pytest.mark.parametrize(("most", "read"), [(7, 2), (8, 3), (3, 1)])
def test_no_more_are_read_than_pixels_are_wanted(most: int, read: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PIXELS", most)
    pictures = Pictures([np.zeros((2, 2, 2), np.uint8)] * 9)
    found(pictures)
    assert len(pictures.read_ones) == read


def test_where_none_can_be_read_the_first_says_why() -> None:
    with pytest.raises(ImageError, match="cannot read 0"):
        found(Pictures([None, None]))
