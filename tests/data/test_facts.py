"""Facts about a split, in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convsmith.data.checks.facts import Sizes, SplitFacts, Suspects, _balance, _sizes, in_pixels


def facts(sizes: Sizes | None, classes: tuple[int, ...] = (1,), **kinds: int) -> SplitFacts:
    return SplitFacts(1438, classes, sizes, {kind.replace("_", " "): count for kind, count in kinds.items()})


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (facts(None), "1,438 images"),
        (facts(Sizes((8, 16), (8, 16), (8, 16)), PNG_L=1438), "1,438 images, 16 x 8 pixels, PNG L"),
        (
            facts(Sizes((8, 4), (8, 8), (16, 9)), JPEG_RGB=1400, PNG_L=38),
            "1,438 images, 4 x 8 to 9 x 16 pixels (median 8 x 8), 1,400 JPEG RGB, 38 PNG L",
        ),
    ],
)
def test_sizes_and_kinds_are_said(found: SplitFacts, words: str) -> None:
    assert str(found) == words


def rows(*sizes: tuple[int, int]) -> Any:
    return np.array(list(sizes), [("height", "<u4"), ("width", "<u4")])


def test_sizes_are_those_of_images_by_their_pixels() -> None:
    assert _sizes(rows((9, 9), (0, 0), (2, 3), (100_000, 70_000), (3, 2), (5, 1))) == Sizes(
        (5, 1), (3, 2), (100_000, 70_000)
    )
    assert _sizes(rows((9, 9), (2, 3))) == Sizes((2, 3), (2, 3), (9, 9))
    assert _sizes(rows((0, 0))) is None
    assert in_pixels((480, 640)) == "640 x 480"


@pytest.mark.parametrize(
    ("counted", "classes", "words"),
    [
        ("pixels", (3, 4), ""),
        ("images", (1200, 1200), "; 2 classes of 1,200 each"),
        ("images", (5, 1000, 1200, 7000), "; 4 classes of 5 to 7,000 images (median 1,100)"),
    ],
)
def test_how_many_images_classes_have_is_said(counted: str, classes: tuple[int, ...], words: str) -> None:
    dataset: Any = SimpleNamespace(counted=counted)
    assert _balance(dataset, facts(None, classes)) == words


def test_suspects_are_counted_with_an_example() -> None:
    assert str(Suspects("all of one colour", 2, ("a.png", "b.png"))) == "2 images: all of one colour, such as a.png"
    assert str(Suspects("tiny", 1, ("a.png",))) == "1 image: tiny, such as a.png"
