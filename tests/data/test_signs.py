"""Which images are probably not the pictures that were meant."""

from __future__ import annotations

import numpy as np
import pytest

from convsmith.bundle.images.decode import decode_rgb
from convsmith.data.checks.signs import GARBLED, LONG, ONE_COLOUR, SMALL, signs_of, suspicious
from tests.colours import picture

ROW = np.dtype([("height", np.int32), ("width", np.int32), ("signs", np.uint8)])


def found(*rows: tuple[int, int, int]) -> dict[str, list[int]]:
    """By the reason, the places of suspicious images among four that are like each other and these."""
    return {why: places.tolist() for why, places in suspicious(np.array([(64, 80, 0)] * 4 + [*rows], ROW)).items()}


def test_images_like_each_other_are_not_suspicious() -> None:
    assert found() == {}


@pytest.mark.parametrize(
    ("row", "reason"),
    [((64, 80, 1), ONE_COLOUR), ((64, 80, 2), GARBLED), ((8, 9, 0), SMALL), ((16, 640, 0), LONG), ((640, 16, 0), LONG)],
)
def test_an_image_unlike_the_others_is_found_by_its_reason(row: tuple[int, int, int], reason: str) -> None:
    assert found(row) == {reason: [4]}


def test_what_cannot_be_read_is_not_suspicious_besides() -> None:
    assert found((0, 0, 3)) == {}


def test_pixels_of_one_colour_and_made_up_ones_are_told_apart() -> None:
    red = decode_rgb(picture("red"))
    assert [signs_of(red, garbled) for garbled in (False, True)] == [1, 3]
