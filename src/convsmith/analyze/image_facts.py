"""How an image looks, in numbers: its size, and how bright and how sharp it is. Needs no torch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from convsmith.bundle.images.decode import Picture, as_pillow, for_eyes, size_of

_SIDE = 256  # of the picture that is looked at: blur is what is left of it there, whatever the camera's resolution


class ImageFacts(NamedTuple):
    """Figures of an image, upright as it was decoded.

    Attributes:
        width, height: in pixels.
        brightness: the mean of its grey values, 0 to 255.
        sharpness: the variance of the Laplacian of these, in an image made smaller by a whole factor until no side has
            more than 256 pixels; low where it is blurred or empty.
    """

    width: int
    height: int
    brightness: float
    sharpness: float


def facts_of(picture: Picture) -> ImageFacts:
    """Measure an image of any channels: grey where there are fewer than three, else by the first three."""
    width, height = size_of(picture)
    image = as_pillow(for_eyes(picture))
    factor = -(-max(width, height) // _SIDE)
    grey = np.asarray((image.reduce(factor) if factor > 1 else image).convert("L")).astype(np.int16)
    middle = 4 * grey[1:-1, 1:-1]
    laplacian = middle - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return ImageFacts(width, height, float(grey.mean()), float(laplacian.var()) if laplacian.size else 0.0)
