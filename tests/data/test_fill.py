"""Polygons and runs become the pixels that pycocotools gives, which COCO's own figures are made with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools import mask as coco_masks  # type: ignore[import-untyped]

from convsmith.data.polygons import fill
from convsmith.data.polygons.fill import fill_polygon, fill_runs, problem_of
from convsmith.data.polygons.run_lengths import check_runs, unpack_runs

sides = st.integers(1, 40)
places = st.one_of(st.integers(-40, 80), st.floats(-40, 80), st.floats(-40, 80).map(lambda it: round(it, 1)))
polygons = st.lists(st.tuples(places, places), min_size=3, max_size=9)


def filled(corners: Any, height: int, width: int) -> NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8)
    fill_polygon(np.array(corners, np.float64), height, width).paint(mask, 1)
    return mask


def official(corners: Any, height: int, width: int) -> NDArray[np.uint8]:
    outline = np.array(corners, np.float64).reshape(-1).tolist()
    found: NDArray[np.uint8] = coco_masks.decode(coco_masks.frPyObjects([outline], height, width))[..., 0]
    return found


@settings(max_examples=500)
@given(polygons, sides, sides)
def test_a_polygon_has_the_pixels_that_pycocotools_gives(corners: Any, height: int, width: int) -> None:
    if problem_of(np.array(corners, np.float64), height, width) is None:
        assert np.array_equal(filled(corners, height, width), official(corners, height, width))


@pytest.mark.parametrize("corners", [[(2, 2)] * 3, [(0, 0), (5, 5), (0, 0)], [(1, 1), (1, 1), (6, 1), (6, 5), (6, 5)]])
def test_corners_that_stand_twice_change_nothing(corners: Any) -> None:
    assert np.array_equal(filled(corners, 8, 9), official(corners, 8, 9))


def test_a_large_polygon_is_the_same_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = np.linspace(0, 2 * np.pi, 50)
    corners = np.stack([150 + 140 * np.cos(turn), 100 + 90 * np.sin(3 * turn)], axis=1)
    monkeypatch.setattr(fill, "_AT_ONCE", 100)
    assert np.array_equal(filled(corners, 200, 300), official(corners, 200, 300))


def test_pillow_would_give_a_small_polygon_other_pixels() -> None:
    """The rule that is meant matters."""
    corners = [(2.0, 2.0), (9.0, 3.0), (8.0, 9.0), (3.0, 8.0)]
    picture = Image.new("1", (12, 12))
    ImageDraw.Draw(picture).polygon(corners, fill=1)
    ours, theirs = filled(corners, 12, 12).sum(), int(np.asarray(picture).sum())
    assert theirs > 1.15 * ours


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.integers(1, 20))
def test_compressed_runs_are_those_of_pycocotools(pixels: list[bool], height: int) -> None:
    pixels += [False] * (-len(pixels) % height)
    mask = np.array(pixels, np.uint8).reshape(height, -1)
    encoded = coco_masks.encode(np.asfortranarray(mask))
    counts = check_runs(unpack_runs(encoded["counts"].decode()), mask.size)
    assert np.array_equal(fill_runs(counts, mask.shape, by_columns=True), mask)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_compressed_runs_of_any_length_are_read(counts: list[int]) -> None:
    encoded = coco_masks.frPyObjects({"counts": counts, "size": [sum(counts), 1]}, sum(counts), 1)
    assert unpack_runs(encoded["counts"].decode()).tolist() == counts


@given(st.binary(max_size=30).map(lambda data: data.decode("latin-1")))
def test_any_text_is_runs_or_a_value_error(text: str) -> None:
    try:
        check_runs(unpack_runs(text), 100)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ([3, -1, 2], "not whole numbers of at least 0"),
        ([3, 1.0], "not whole numbers"),
        ([True, 3], "not whole numbers"),
        ([3, 2], "add up to 5, but there are 4 pixels"),
        ([1, 2], "add up to 3"),
        ([10**30], "beyond any image"),
        ([2**62, 2**62, 2**62, 2**62], "reach from"),
        ([], "add up to 0"),
    ],
)
def test_runs_that_do_not_fill_the_image_are_refused(counts: list[Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_runs(counts, 4)


@pytest.mark.parametrize(
    ("corners", "why"),
    [
        ([(0, 0), (1, 1)], "a polygon of 2 corners"),
        ([(0, 0), (1, float("nan")), (1, 0)], "not a number"),
        ([(0, 0), (1, float("inf")), (1, 0)], "not a number"),
        ([(0, 0), (1e9, 1), (1, 0)], "far outside the image of 6 x 4 pixels"),
        ([(0, 0), (1, -5), (1, 0)], "far outside"),
        ([(0, 0), (6, 4)] * 40, "more than an image of 6 x 4 has room for"),
    ],
)
def test_polygons_that_cannot_be_meant_are_refused(corners: Any, why: str) -> None:
    assert why in str(problem_of(np.array(corners, np.float64), 4, 6))


def test_a_polygon_may_reach_a_little_beyond_the_image() -> None:
    assert problem_of(np.array([(-0.5, 0), (6.4, 0), (6.4, 4.2)]), 4, 6) is None
