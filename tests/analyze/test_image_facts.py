"""Figures of an image: its size, how bright and how sharp it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.analyze.image_facts import facts_of


def grey(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    """A colour image [H, W, 3] of grey values [H, W]."""
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def test_size_and_brightness_are_those_of_the_image() -> None:
    facts = facts_of(grey(np.array([[0, 100, 200, 40], [0, 0, 40, 20]])))
    assert (facts.width, facts.height, facts.brightness) == (4, 2, 50.0)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("step", [0, 1, 7])
def test_an_image_without_edges_has_no_sharpness(axis: int, step: int) -> None:
    ramp = np.broadcast_to(step * np.arange(9), (9, 9))
    assert facts_of(grey(ramp if axis else ramp.T)).sharpness == 0


def test_the_sharpness_of_a_dot_is_the_variance_of_the_laplacian() -> None:
    dot = np.zeros((5, 5), np.int64)
    dot[2, 2] = 100  # four times itself there, and less itself at its four neighbours
    assert facts_of(grey(dot)).sharpness == pytest.approx((400**2 + 4 * 100**2) / 9)


@pytest.mark.parametrize("shape", [(2, 9), (9, 2), (1, 1)])
def test_an_image_without_inner_pixels_has_no_sharpness(shape: tuple[int, int]) -> None:
    assert facts_of(grey(np.arange(shape[0] * shape[1]).reshape(shape) * 9)).sharpness == 0


@pytest.mark.parametrize(("side", "is_smooth"), [(256, False), (257, True), (512, True)])
def test_a_large_image_is_made_smaller_first(side: int, is_smooth: bool) -> None:
    stripes = np.broadcast_to(np.arange(side) % 2 * 200, (4, side))
    assert (facts_of(grey(stripes)).sharpness < 100) == is_smooth
