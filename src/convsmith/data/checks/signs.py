"""Signs that an image which can be read is not the picture that was meant."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.decode import Picture, as_pillow

_ONE_COLOUR, _GARBLED = 1, 2
_NOISE = 2  # levels by which the pixels of one colour may differ after compression
_SMALL, _LONG = 64, 6  # times fewer pixels than the median image has, or longer for its width

ONE_COLOUR, GARBLED, SMALL, LONG = (
    "all of one colour",
    "a part of it is made up, since the file is damaged or cut off",
    "tiny beside the others",
    "far longer and thinner than the others",
)
SIGNS = (GARBLED, ONE_COLOUR, SMALL, LONG)
"""The reasons, in words."""


def signs_of(picture: Picture, garbled: bool) -> int:
    """The signs that the pixels of an image show, as bits."""
    extrema = as_pillow(picture).getextrema()
    plain = all(high - low <= _NOISE for low, high in extrema)  # type: ignore[misc]  # of each channel
    return _ONE_COLOUR * plain + _GARBLED * garbled


def is_plain(signs: int) -> bool:
    """Whether the pixels are all of one colour."""
    return bool(signs & _ONE_COLOUR)


def suspicious(rows: NDArray[np.void]) -> Mapping[str, NDArray[np.int64]]:
    """The images that are probably not what was meant, by the reason: positions among the rows of looks at them.

    An image is compared with the median of those that can be read, in the number of its pixels and in its shape.
    """
    height, width = rows["height"].astype(np.int64), rows["width"].astype(np.int64)
    good = height > 0
    if not good.any():
        return {}
    area, shape = height * width, np.log(np.maximum(width, 1) / np.maximum(height, 1))
    found = {
        GARBLED: rows["signs"] & _GARBLED > 0,
        ONE_COLOUR: rows["signs"] & _ONE_COLOUR > 0,
        SMALL: area * _SMALL < np.median(area[good]),
        LONG: np.abs(shape - np.median(shape[good])) > np.log(_LONG),
    }
    return {reason: np.flatnonzero(good & there) for reason, there in found.items() if (good & there).any()}
