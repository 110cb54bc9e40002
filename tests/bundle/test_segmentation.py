from __future__ import annotations

import io
import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.segmentation import Segmentation, from_runs, to_runs, voc_colours
from convsmith.errors import ConvsmithError

LABELS = ("sky", "road", "tree")
MASK = np.array([[0, 0, 0, 2], [2, 2, 2, 2]], np.uint8)
PHOTO = np.full((2, 4, 3), 100, np.uint8)
masks = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 255))


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png), formats=["PNG"])


def test_areas_are_shares_of_the_pixels() -> None:
    assert Segmentation(MASK, LABELS).areas().tolist() == [3 / 8, 0, 5 / 8]


def test_to_dict_lists_the_classes_that_are_there_the_largest_first() -> None:
    assert json.loads(json.dumps(Segmentation(MASK, LABELS).to_dict())) == {
        "size": [2, 4],
        "classes": [
            {"class_id": 2, "label": "tree", "pixels": 5, "share": 5 / 8},
            {"class_id": 0, "label": "sky", "pixels": 3, "share": 3 / 8},
        ],
    }


def test_classes_of_equal_size_are_listed_by_class() -> None:
    answer = Segmentation(np.array([[2, 1, 0]], np.uint8), LABELS).to_dict()
    assert [entry["class_id"] for entry in answer["classes"]] == [0, 1, 2]


def test_to_dict_has_the_mask_as_runs_where_they_are_asked_for() -> None:
    answer = json.loads(json.dumps(Segmentation(MASK, LABELS).to_dict(runs=True)))
    assert answer["runs"] == [[0, 3], [2, 5]]


@given(masks)
def test_runs_give_the_mask_back(mask: NDArray[np.uint8]) -> None:
    assert np.array_equal(from_runs(to_runs(mask), (mask.shape[0], mask.shape[1])), mask)


@given(masks)
def test_runs_are_as_few_as_can_be(mask: NDArray[np.uint8]) -> None:
    classes = [class_id for class_id, _ in to_runs(mask)]
    assert all(one != other for one, other in pairwise(classes))


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        ([], "pairs of integers"),
        ([[0, 4], [1]], "not pairs"),
        ([[0, 2, 2]], "pairs of integers"),
        ([[0, 4.0]], "pairs of integers"),
        ([["a", 4]], "pairs of integers"),
        ([[256, 4]], "0 to 255"),
        ([[-1, 4]], "0 to 255"),
        ([[1, 5], [2, -1]], "at least 1"),
        ([[0, 3]], "3 pixels, and 2 x 2"),
        ([[0, 2**62], [0, 2**62], [0, 2**62], [0, 2**62]], "18446744073709551616 pixels"),
    ],
)
def test_runs_that_are_none_are_refused(runs: Any, why: str) -> None:
    with pytest.raises(ConvsmithError, match=why):
        from_runs(runs, (2, 2))


@pytest.mark.parametrize("num_classes", [2, 20, 255])
def test_the_index_png_has_classes_as_pixel_values(num_classes: int) -> None:
    mask = np.arange(num_classes, dtype=np.uint8)[None]
    image = opened(Segmentation(mask, tuple(map(str, range(num_classes)))).index_png())
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), mask)


def test_the_index_png_has_eight_bits_a_pixel() -> None:
    header = Segmentation(MASK, LABELS).index_png()[:26]
    assert (header[24], header[25]) == (8, 3)  # bit depth, and a palette


def test_the_index_png_shows_the_colours_of_the_classes() -> None:
    colours = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    shown = np.asarray(opened(Segmentation(MASK, LABELS, colours).index_png()).convert("RGB"))
    assert np.array_equal(shown, np.array(colours, np.uint8)[MASK])


@pytest.mark.parametrize(
    ("alpha", "sky", "tree"),
    [(0, [100, 100, 100], [100, 100, 100]), (1, [0, 0, 0], [0, 128, 0]), (0.5, [50, 50, 50], [50, 114, 50])],
)
def test_the_overlay_lies_over_the_photo(alpha: float, sky: list[int], tree: list[int]) -> None:
    shown = Segmentation(MASK, LABELS).overlay(PHOTO, alpha)
    assert (shown[0, 0].tolist(), shown[1, 3].tolist()) == (sky, tree)


def test_the_overlay_as_png_is_the_overlay() -> None:
    answer = Segmentation(MASK, LABELS)
    assert np.array_equal(np.asarray(opened(answer.overlay_png(PHOTO, 0.3))), answer.overlay(PHOTO, 0.3))


def test_a_photo_of_another_size_is_refused() -> None:
    with pytest.raises(ConvsmithError, match=r"size \(2, 4\), the image \(4, 2\)"):
        Segmentation(MASK, LABELS).overlay(PHOTO.transpose(1, 0, 2))


def test_the_colours_of_pascal_voc_are_the_published_ones() -> None:
    assert voc_colours(9) == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128),
        (128, 128, 128), (64, 0, 0),
    ]  # fmt: skip
    assert voc_colours(256)[255] == (224, 224, 192)


def test_all_colours_of_pascal_voc_differ() -> None:
    assert len(set(voc_colours(256))) == 256


def test_a_class_without_a_label_is_refused() -> None:
    with pytest.raises(ConvsmithError, match="class 2 has no label: there are 2"):
        Segmentation(MASK, LABELS[:2])


def test_a_wrong_number_of_colours_is_refused() -> None:
    with pytest.raises(ConvsmithError, match="1 colours do not fit 3 classes"):
        Segmentation(MASK, LABELS, [(0, 0, 0)])


def test_the_representation_says_what_is_seen() -> None:
    assert repr(Segmentation(MASK, LABELS)) == "Segmentation(4 x 2, 'tree' 62.5%, 'sky' 37.5%)"
