from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.analyze.heat.hidden_parts import Score, occlusion, rise

BLACK = np.zeros(3, np.uint8)
Heat = Callable[[Score, NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]


def brightness_of(rows: slice, columns: slice) -> Score:
    """A model that looks at one place: the brighter it is, the surer of the class."""

    def score(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        place = images[:, :, rows, columns].astype(np.float64).mean((1, 2, 3)) / 255
        sure: NDArray[np.float64] = np.log(np.clip(place, 1e-3, 1))
        return sure

    return score


@pytest.mark.parametrize("find", [occlusion, rise])
@pytest.mark.parametrize("size", [(32, 32), (30, 47)])
def test_heat_is_where_the_model_looks(find: Heat, size: tuple[int, int]) -> None:
    heat = find(brightness_of(slice(4, 12), slice(18, 28)), np.full((3, *size), 200, np.uint8), BLACK)
    assert heat.shape == size
    assert (heat.min(), heat.max()) == (0, 1)
    row, column = np.unravel_index(heat.argmax(), size)
    assert 2 <= row < 14
    assert 16 <= column < 30
    outside = heat.copy()
    outside[:16, 12:34] = 0
    assert outside.max() < 0.75


@pytest.mark.parametrize("find", [occlusion, rise])
def test_heat_is_nothing_where_no_place_counts(find: Heat) -> None:
    assert find(lambda images: np.zeros(len(images)), np.full((3, 16, 16), 9, np.uint8), BLACK).max() == 0


def test_masks_are_the_same_in_every_call_and_others_with_another_seed() -> None:
    score, image = brightness_of(slice(4, 12), slice(4, 12)), np.full((3, 16, 16), 200, np.uint8)
    first, again, other = (rise(score, image, BLACK, 64, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_image_smaller_than_the_grid_is_hidden_place_by_place() -> None:
    score = brightness_of(slice(0, 1), slice(2, 3))
    heat = occlusion(score, np.full((3, 3, 3), 200, np.uint8), BLACK)
    assert heat.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_what_is_hidden_has_the_fill_of_each_channel() -> None:
    seen: list[NDArray[np.uint8]] = []

    def score(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        seen.append(images.copy())
        return np.zeros(len(images))

    occlusion(score, np.zeros((2, 5, 5), np.uint8), np.array([7, 9], np.uint8))
    assert [seen[-1][:, channel].max() for channel in (0, 1)] == [7, 9]
