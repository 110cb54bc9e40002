"""What a look at all files before the first step comes to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convsmith.bundle.images.image_error import ImageError
from convsmith.data.checks.check import BadFile
from convsmith.data.checks.look import PIXELS, ROW, Looks
from convsmith.training.data_check import _extremes, _unusable


def looks(*sizes: tuple[int, int], bad: tuple[int, ...] = ()) -> Looks:
    rows = np.zeros(len(sizes), ROW)
    rows["height"], rows["width"] = zip(*sizes, strict=True)
    return Looks(rows, np.empty(0, PIXELS), {number: ImageError("a", "b") for number in bad})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (looks((2, 2), (3, 4), (1, 5)), [1, 0]),
        (looks((2, 2)), [0, 0]),
        (looks((9, 9), (2, 2), (3, 3), bad=(0,)), [2, 1]),
        (looks((0, 0), (2, 2)), [1, 1]),
        (looks((9, 9), bad=(0,)), []),
        (looks((60_000, 60_000), (60_000, 50_000), (1, 1)), [0, 2]),
    ],
)
def test_the_largest_and_the_smallest_image_are_those_with_most_and_fewest_pixels(found: Looks, expected: Any) -> None:
    assert _extremes(found) == expected


@pytest.mark.parametrize(("count", "listed", "more"), [(1, 1, ""), (10, 10, ""), (11, 10, "\n  and 1 more")])
def test_ten_bad_files_are_listed(count: int, listed: int, more: str) -> None:
    error = _unusable([BadFile(f"{number}.jpg", "torn") for number in range(count)], 1000)
    lines = "".join(f"\n  {number}.jpg: torn" for number in range(listed))
    assert error.what == f"{count} of 1,000 images cannot be used:{lines}{more}"
    assert error.fix == "Repair or remove them, or set data.on_error=skip."


def test_three_different_fixes_are_said_once_each() -> None:
    bad = [BadFile("a", "torn", fix) for fix in ("", "One.", "Two.", "One.", "Three.", "Four.")]
    lines = _unusable(bad, 9).fix.splitlines()
    assert lines == ["One.", "Two.", "Three.", "Repair or remove them, or set data.on_error=skip."]
