"""Mean and standard deviation of the channels of images, where no weights say what they should be."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.image_error import ImageError
from convsmith.data.dataset import Samples
from convsmith.recipe.schema import Recipe
from convsmith.spec import Bands

logger = logging.getLogger(__name__)

MOST_IMAGES = 256
_MOST_PIXELS = 2**28  # of them all, which are decoded in a few seconds
_DIGITS = 4
_SMALLEST = 1 / 255  # of a channel that is the same everywhere

Values = tuple[float, ...]


def with_measured_mean(recipe: Recipe, samples: Samples) -> Recipe:
    """The recipe with the mean and the standard deviation of the samples' channels, where it has none for them.

    Raises:
        ImageError: no image can be read as the recipe says.
    """
    if not recipe.mean_is_open:
        return recipe
    mean, std = channel_mean(samples, recipe.bands)
    logger.warning("measured on training images: preprocess.mean=%s preprocess.std=%s", list(mean), list(std))
    return recipe.with_mean(mean, std)


def channel_mean(samples: Samples, bands: Bands) -> tuple[Values, Values]:
    """The mean and the standard deviation [C] of all pixels, 0 to 1, of some images spread evenly over the samples.

    The same samples give the same numbers, of four digits.

    Raises:
        ImageError: none of the images can be read; the first one says why.
    """
    count, sums, squares = 0, np.zeros(bands.channels), np.zeros(bands.channels)
    failures: list[ImageError] = []
    levels = np.arange(256) / 255
    for i in np.unique(np.linspace(0, len(samples) - 1, MOST_IMAGES).round().astype(int)).tolist():
        try:
            pixels = np.asarray(samples.read(i, bands)[0])
        except ImageError as error:  # which the look at all images names
            failures.append(error)
            continue
        counts = _histograms(pixels)
        count += pixels.shape[0] * pixels.shape[1]
        sums += counts @ levels
        squares += counts @ levels**2
        if count > _MOST_PIXELS:
            break
    if not count:
        raise failures[0]
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, _SMALLEST**2))
    return tuple(mean.round(_DIGITS).tolist()), tuple(std.round(_DIGITS).tolist())


def _histograms(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each channel has each value, [C, 256]."""
    return np.stack([np.bincount(pixels[..., i].ravel(), minlength=256) for i in range(pixels.shape[2])])
