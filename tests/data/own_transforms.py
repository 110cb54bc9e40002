"""Functions that recipes of the tests name as `augment.custom`."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
_calls = count()

NUMBER = 3


def speckle(image: Pixels, rng: Generator) -> Pixels:
    """Another amount of noise for each image."""
    return (image * rng.uniform(0.5, 1, image.shape)).astype(np.uint8)


def inverted(*given: Any) -> Any:
    """The negative of an image; its mask as it is."""
    image, *mask, _ = given
    return (255 - image, *mask) if mask else 255 - image


def turned(image: Pixels, mask: Pixels, rng: Generator) -> tuple[Pixels, Pixels]:
    """Both upside down, half of the time."""
    step = -1 if rng.random() < 0.5 else 1
    return image[::step], mask[::step]


def in_place(image: Pixels, rng: Generator) -> Pixels:
    image[:] = 7
    return image


def read_only(image: Pixels, rng: Generator) -> Pixels:
    dark = np.zeros_like(image)
    dark.flags.writeable = False
    return dark


def cut(image: Pixels, rng: Generator) -> Pixels:
    return image[1:]


def floats(image: Pixels, rng: Generator) -> Any:
    return image / 255


def nothing(image: Pixels, rng: Generator) -> None:
    return None


def crash(image: Pixels, rng: Generator) -> Pixels:
    raise ZeroDivisionError("no scale")


def crash_on_black(image: Pixels, rng: Generator) -> Pixels:
    if image.max() == 0:
        raise ValueError("a black image")
    return image


def counting(image: Pixels, rng: Generator) -> Pixels:
    return np.full_like(image, next(_calls) % 256)


def image_alone(image: Pixels, mask: Pixels, rng: Generator) -> Pixels:
    return image


def blurred_mask(image: Pixels, mask: Pixels, rng: Generator) -> tuple[Pixels, Pixels]:
    return image, (mask // 2).astype(np.uint8)


class Namespace:
    """Holds a function."""

    @staticmethod
    def inverted(image: Pixels, rng: Generator) -> Pixels:
        return 255 - image
