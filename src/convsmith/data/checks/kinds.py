"""Kinds of image files, by format and mode, as numbers of one byte."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_FORMATS = ("another format", "JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF", "NPY")
_MODES = (
    *("another mode", "RGB", "L", "P", "RGBA", "1", "LA", "CMYK", "I;16", "YCbCr", "LAB", "I", "F", "PA", "RGBX"),
    *("uint8", "uint16", "int16", "float32"),  # arrays
)


def kind_number(image_format: str, mode: str) -> int:
    """The number of a format and a mode of Pillow, below 256."""
    return _place(_FORMATS, image_format) * len(_MODES) + _place(_MODES, mode)


def kind_name(number: int) -> str:
    """The words for such a number: `JPEG RGB`."""
    return f"{_FORMATS[number // len(_MODES)]} {_MODES[number % len(_MODES)]}"


def count_kinds(numbers: NDArray[np.uint8]) -> dict[str, int]:
    """How many there are of each kind, the most frequent first."""
    counts = np.bincount(numbers)
    order: Iterable[int] = np.argsort(-counts, kind="stable").tolist()
    return {kind_name(number): int(counts[number]) for number in order if counts[number]}


def _place(known: tuple[str, ...], name: str) -> int:
    return known.index(name) if name in known else 0
