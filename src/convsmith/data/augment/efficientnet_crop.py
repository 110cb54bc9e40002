"""EfficientNet's random crop, as ResNeSt trains with it (its ERandomCrop, in resnest/torch/transforms)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torchvision.transforms import InterpolationMode

from convsmith.bundle.preprocess import preprocess
from convsmith.data.augment.crops import Crop, DrawCrop, crop_of_box, least_size
from convsmith.data.augment.draws import below, uniform
from convsmith.data.augment.geometry import Box, Sample
from convsmith.recipe.augmentation import EfficientNetCrop
from convsmith.spec import Preprocess, Size

ATTEMPTS = 10
MARGIN = 32  # what ResNeSt adds to a size to get the one that its central square is cut out of


def efficientnet_crop(crop: EfficientNetCrop, mode: InterpolationMode) -> DrawCrop:
    """A random part of an image, resized to S x S.

    Where there is no box, it is the middle: that of the preprocessing `crop_then_resize` with `resize` = S + 32.

    Args:
        crop: size S, ranges and interpolation.
        mode: torchvision's name of the interpolation.
    """
    size = (crop.size, crop.size)
    middle = Preprocess(
        resize=crop.size + MARGIN, crop=crop.size, method="crop_then_resize", interpolation=crop.interpolation
    )

    def make_middle(sample: Sample) -> Sample:
        pixels = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
        return Sample(torch.from_numpy(preprocess(pixels, middle)), None)

    def draw(whole: Size) -> Crop:
        height, width = whole
        box = random_box(width, height, crop.area, crop.min_covered, crop.ratio, uniform=uniform, below=below)
        if box is None:
            side = max(1, min(whole) * crop.size // middle.resize)
            return Crop(least_size(whole, (side, side), size), make_middle)
        left, top, right, bottom = box
        return crop_of_box(whole, Box(top, left, bottom - top, right - left), size, mode, antialias=True)

    return draw


def random_box(
    width: int,
    height: int,
    area: tuple[float, float],
    min_covered: float,
    ratio: tuple[float, float],
    *,
    uniform: Callable[[], float],
    below: Callable[[int], int],
) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of a random part of an image; None where the middle is to be taken instead.

    Width / height is uniform in `ratio` (not its logarithm), then the height is uniform in what `area` and the image
    allow. A box that rounding took out of its ranges is drawn again. After 10 there is none, nor for the whole image.

    Args:
        width: of the image, in pixels.
        height: of the image, in pixels.
        area: range of the area, relative to the image, from which the height is drawn.
        min_covered: smallest area, relative to the image, that is not drawn again.
        ratio: range of width / height.
        uniform: draws from 0 to 1; twice an attempt.
        below: draws an integer from 0 to its argument - 1; left and top, once the size is accepted.
    """
    smallest, largest, least = (share * (width * height) for share in (*area, min_covered))
    for _ in range(ATTEMPTS):
        aspect = ratio[0] + (ratio[1] - ratio[0]) * uniform()
        high = _highest(width, height, aspect, largest)
        low = min(round(math.sqrt(smallest / aspect)), high)
        box_height = round(low + (high - low) * uniform())
        box_width = round(box_height * aspect)
        if not max(smallest, least) <= box_width * box_height <= largest or box_width > width or box_height > height:
            continue
        if (box_width, box_height) == (width, height):
            return None
        left, top = below(width - box_width + 1), below(height - box_height + 1)
        return left, top, left + box_width, top + box_height
    return None


def _highest(width: int, height: int, aspect: float, largest: float) -> int:
    """The height of the largest box of an aspect ratio that fits into the image."""
    high = round(math.sqrt(largest / aspect))
    if high * aspect > width:
        high = int((width + 0.5 - 1e-7) / aspect)  # so that the width, rounded, still fits
        high -= high * aspect > width
    return min(high, height)
