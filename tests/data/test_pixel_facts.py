"""Shares of pixels in words."""

from __future__ import annotations

import numpy as np
import pytest

from convsmith.data.masks.pixel_facts import _percent, shares


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(0, 0, "0 %"), (0, 9, "0 %"), (1, 3, "33.3 %"), (9, 9, "100 %"), (1, 100_000, "0.001 %"), (1, 0, "100 %")],
)
def test_a_share_has_three_digits(part: int, whole: int, words: str) -> None:
    assert _percent(part, whole) == words


def test_classes_are_named_the_largest_first_and_of_many_the_ends() -> None:
    pixels = np.zeros(256, np.int64)
    pixels[[0, 1, 2, 255]] = 10, 30, 10, 50
    assert shares("training", pixels, "abc") == (
        "pixels of the training masks: b 60 %, a 20 %, c 20 %; 50 % do not count"
    )
    pixels[:13] = range(13)
    text = shares("validation", pixels, "abcdefghijklm")
    assert text.startswith(
        "pixels of the validation masks: m 15.4 %, l 14.1 %, k 12.8 %, j 11.5 %, i 10.3 %, h 8.97 %, "
    )
    assert ", 1 classes between, f 6.41 %, e 5.13 %, d 3.85 %, c 2.56 %, b 1.28 %, a 0 %; " in text
    assert "between" not in shares("validation", pixels, "abcdefghijkl")
