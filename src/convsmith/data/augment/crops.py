"""The part of an image that is trained on: where it lies is drawn from the size, before there are pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torchvision.transforms import InterpolationMode

from convsmith.data.augment.geometry import Box, Change, Sample, cut, resized
from convsmith.data.augment.resized_part import box_anywhere, resized_part
from convsmith.recipe.augmentation import RandomCrop, RandomResizedCrop
from convsmith.spec import Size


class Crop(NamedTuple):
    """A crop that has been drawn.

    Attributes:
        least: height and width that the whole image must have, or its own, for what is cut out to be 1.5 times as large
            as what it becomes: from there on, an image that was decoded smaller gives almost the same.
        make: cuts it out of the image, or of the same in that size or a larger one, and resizes it.
    """

    least: Size
    make: Change


_ATTEMPTS = 10

DrawCrop = Callable[[Size], Crop]
"""From height and width of a whole image, a random crop of it."""


def crop_of_box(whole: Size, box: Box, size: Size, mode: InterpolationMode, antialias: bool) -> Crop:
    """The crop that a box of a whole image shows, resized.

    Args:
        whole: height and width of the image.
        box: lies inside it.
        size: what it becomes.
        mode: interpolation.
        antialias: filter it where it becomes smaller.
    """

    def make(sample: Sample) -> Sample:
        top, left, height, width = _scaled(box, whole, sample.size)
        return resized(cut(sample, top, left, (height, width)), size, mode, antialias)

    return Crop(least_size(whole, (box.height, box.width), size), make)


def least_size(whole: Size, part: Size, size: Size) -> Size:
    """The size of an image, at most its own, whose part is 1.5 times as large as the size that it gets."""
    share = max(1.5 * after / before for before, after in zip(part, size, strict=True))
    height, width = (min(side, math.ceil(side * share)) for side in whole)
    return height, width


def random_resized_crop(crop: RandomResizedCrop, size: Size, mode: InterpolationMode, antialias: bool) -> DrawCrop:
    """torchvision's class, with the same numbers for the same state of the generator, drawn in less time."""
    ratios = torch.log(torch.tensor(crop.ratio)).tolist()

    def draw(whole: Size) -> Crop:
        return crop_of_box(whole, _resized_box(whole, crop, ratios), size, mode, antialias)

    return draw


def _resized_box(whole: Size, crop: RandomResizedCrop, ratios: Sequence[float]) -> Box:
    """The part that torchvision's RandomResizedCrop draws; `ratios` are the logarithms of the crop's, as float32."""
    height, width = whole
    for _ in range(_ATTEMPTS):
        area = height * width * torch.empty(1).uniform_(*crop.scale).item()
        ratio = torch.empty(1).uniform_(*ratios).exp_().item()
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            return box_anywhere(whole, (box_height, box_width))
    least, most = crop.ratio
    box_height = min(height, round(width / least))
    box_width = min(width, round(height * most))
    return Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)


def random_crop(crop: RandomCrop, mode: InterpolationMode, antialias: bool) -> DrawCrop:
    """A square of side `size` at a random place of the image, resized to `size` and padded.

    Written with functions: as v2 classes this and the flip take a fifth of the whole time of a 32x32 image.
    """

    def draw(whole: Size) -> Crop:
        height, width = (crop.size * side // min(whole) for side in whole)
        room = 2 * crop.padding
        box = box_anywhere((height + room, width + room), (crop.size, crop.size))
        box = box._replace(top=box.top - crop.padding, left=box.left - crop.padding)
        return Crop(
            least_size(whole, whole, (height, width)),
            lambda sample: resized_part(sample, [(height, width)], box, mode, antialias),
        )

    return draw


def _scaled(box: Box, whole: Size, size: Size) -> Box:
    """The box of a whole image in the same image of another size: at least a pixel of it."""
    if whole == size:
        return box
    spans = []
    for start, length, old, new in zip(box[:2], box[2:], whole, size, strict=True):
        first = min(round(start * new / old), new - 1)
        spans.append((first, max(1, min(new, round((start + length) * new / old)) - first)))
    (top, height), (left, width) = spans
    return Box(top, left, height, width)
