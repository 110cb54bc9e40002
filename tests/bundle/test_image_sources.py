"""What counts as one image, how it is called in errors, and how large it may become."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convsmith.bundle import preprocess as module
from convsmith.bundle.images.image_error import ImageError, ImageTooLarge
from convsmith.bundle.preprocess import check_size, is_one_image, name_of, read_and_preprocess
from convsmith.spec import Preprocess


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("a.png", True),
        (Path("a.png"), True),
        (b"bytes", True),
        (bytearray(b"bytes"), True),
        (memoryview(b"bytes"), True),
        (Image.new("RGB", (2, 2)), True),
        (io.BytesIO(b"bytes"), True),
        (lambda: b"bytes", True),
        (np.zeros((2, 2)), True),
        (np.zeros((2, 2, 3)), True),
        (np.zeros(2), False),
        (np.zeros((1, 2, 2, 3)), False),
        (["a.png"], False),
        (("a.png",), False),
        (iter(()), False),
        (3, False),
    ],
)
def test_one_image_is_told_from_several(value: object, is_one: bool) -> None:
    assert is_one_image(value) == is_one


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("a/b.png", "a/b.png"),
        (Path("a/b.png"), "a/b.png"),
        (SimpleNamespace(name="c.png"), "c.png"),
        (SimpleNamespace(name=""), "image 3"),
        (SimpleNamespace(name=7), "image 3"),
        (b"bytes", "image 3"),
    ],
)
def test_an_image_is_called_by_its_path_or_the_name_that_it_knows(value: object, name: str) -> None:
    assert name_of(value, "image 3") == name


@pytest.mark.parametrize(
    ("pixels", "channels", "is_read"),
    [
        (np.zeros((4, 5, 3), np.uint8), 3, True),
        (np.zeros((4, 5, 3), np.uint16), 3, False),
        (np.zeros((4, 5, 3), np.float32), 3, False),
        (np.zeros((4, 5), np.uint8), 3, False),
        (np.zeros((4, 5, 4), np.uint8), 3, False),
        (np.zeros((0, 5, 3), np.uint8), 3, False),
        (np.zeros((4, 5), np.uint8), 1, True),
        (np.zeros((4, 5, 2), np.uint8), 2, True),
        (np.zeros((4, 5, 2), bool), 2, False),
        (np.zeros((4, 5, 2), complex), 2, False),
        (np.zeros((1, 4, 5, 2), np.uint8), 2, False),
        (np.zeros(5, np.uint8), 1, False),
        (np.zeros((4, 0, 2), np.uint8), 2, False),
    ],
)
def test_arrays_of_pixels_are_read(pixels: Any, channels: int, is_read: bool) -> None:
    values = (0.5,) * channels
    spec = Preprocess(resize=8, crop=8, mean=values, std=values)
    if is_read:
        assert read_and_preprocess(pixels, spec).shape == (channels, 8, 8)
        return
    with pytest.raises(ImageError, match=r"it is a \w+ array of shape"):
        read_and_preprocess(pixels, spec)


def test_a_strip_may_become_as_large_as_an_image_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 8 * 80)
    spec = Preprocess(resize=8, crop=8)
    for size in ((10, 100), (100, 10), (80, 8)):
        check_size(*size, spec)
    for size in ((10, 102), (102, 10)):
        with pytest.raises(ImageTooLarge):
            check_size(*size, spec)
        check_size(*size, spec.model_copy(update={"method": "warp"}))
