"""A part of a resized image, made without the rest of it: a crop costs what the crop costs, however large the image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.bundle.images.limits import MAX_PIXELS
from convsmith.data.augment.draws import below
from convsmith.data.augment.geometry import Box, Sample, padded
from convsmith.spec import Size

_STRIP = 2**22  # pixels that are resized at a time, which bounds the memory for those that the box does not show
_WORTH = 4  # times the box a resized image has to be, or making all of it is faster
_REACH = 2  # pixels to either side that an interpolation looks at; times as many where several become one

_Place = tuple[range, range]  # rows and columns
_Resize = Callable[[Tensor, list[int]], Tensor]


def box_anywhere(size: Size, part: Size) -> Box:
    """A part of an image of a size, all places alike."""
    top, left = (below(side - length + 1) for side, length in zip(size, part, strict=True))
    return Box(top, left, *part)


def resized_part(sample: Sample, sizes: Sequence[Size], box: Box, mode: InterpolationMode, antialias: bool) -> Sample:
    """The part of a resized sample that `box` shows: the same bytes as if all of it were resized and then cut.

    torchvision resizes bytes first across, then down, and rounds in between. So does this, with the columns and rows
    only that the box needs. A processor on which torchvision resizes otherwise (bilinear without a filter where there
    is without AVX2) may give an image levels that differ by 1 from those of the whole.

    Args:
        sample: all of it; a mask is resized by nearest, whose rounding is OpenCV's.
        sizes: height and width that it is resized to, one after the other.
        box: in the last size; what lies outside is black, and ignored in the mask.
        mode: interpolation of the image.
        antialias: filter an image that becomes smaller.

    Raises:
        ImageTooLarge: a side would be longer than `MAX_PIXELS`: a strip many thousand times as long as it is high.
    """
    for height, width in sizes:
        if max(height, width) > MAX_PIXELS:
            shown = f"{sample.size[1]} x {sample.size[0]} pixels would be resized to {width} x {height}"
            raise ImageTooLarge("an image is too large", f"its {shown}")
    image, mask = sample
    every = [sample.size, *sizes]
    rows, above, under = _clipped(box.top, box.height, every[-1][0])
    columns, left, right = _clipped(box.left, box.width, every[-1][1])
    resize = partial(functional.resize, interpolation=mode, antialias=antialias)
    image = _part(image, every, (rows, columns), resize)
    if mask is not None:
        mask = _part(mask[None], every, (rows, columns), functional.resize_mask)[0]
    return padded(Sample(image, mask), left, right, above, under)


def _clipped(start: int, length: int, side: int) -> tuple[range, int, int]:
    """The part of a span that lies inside an image, and how many pixels of it lie before and behind the image."""
    inside = range(*(min(max(place, 0), side) for place in (start, start + length)))
    before = min(length, max(0, -start))
    return inside, before, length - before - len(inside)


def _part(pixels: Tensor, sizes: Sequence[Size], wanted: _Place, resize: _Resize) -> Tensor:
    """Some rows and columns of pixels `[C, H, W]` that go through all `sizes`, of which they have the first."""
    *before, size = sizes
    if not before:
        return _cut(pixels, wanted)
    whole = before[-1]
    if size[0] * size[1] <= _WORTH * len(wanted[0]) * len(wanted[1]):
        pixels = _part(pixels, before, (range(whole[0]), range(whole[1])), resize)
        return _cut(resize(pixels, list(size)), wanted)
    known = (_needed(wanted[0], whole[0], size[0]), _needed(wanted[1], whole[1], size[1]))
    pixels = _part(pixels, before, known, resize)
    for axis in (1, 0):
        pixels = _along(pixels, axis + 1, (whole[axis], known[axis]), (size[axis], wanted[axis]), resize)
    return pixels


def _cut(pixels: Tensor, place: _Place) -> Tensor:
    rows, columns = place
    return pixels[:, rows.start : rows.stop, columns.start : columns.stop]


def _needed(wanted: range, whole: int, size: int) -> range:
    """The part of a side of `whole` pixels that decides the pixels `wanted` once it has `size`."""
    if whole == size:
        return wanted
    scale = whole / size
    reach = _REACH * max(1.0, scale) + 1
    return range(max(0, math.floor(wanted.start * scale - reach)), min(whole, math.ceil(wanted.stop * scale + reach)))


def _along(pixels: Tensor, axis: int, old: tuple[int, range], new: tuple[int, range], resize: _Resize) -> Tensor:
    """Pixels `[C, h, w]` resized along one axis.

    Args:
        pixels: along the axis that span of a side which `old` says; the rest of it is never looked at.
        axis: 1 or 2.
        old: length of the whole side, and the span of it.
        new: length that the side gets, and the span of that to return.
        resize: from pixels and a height and width.
    """
    (whole, known), (size, wanted) = old, new
    if whole == size:
        return pixels
    other = 3 - axis
    strips = torch.split(pixels, max(1, _STRIP // max(whole, size)), other)
    done = _blank(pixels, axis, len(wanted))
    for strip, place in zip(strips, torch.split(done, strips[0].shape[other], other), strict=True):
        side = _blank(strip, axis, whole)
        side.narrow(axis, known.start, len(known)).copy_(strip)
        target = list(side.shape[1:])
        target[axis - 1] = size
        place.copy_(resize(side, target).narrow(axis, wanted.start, len(wanted)))
    return done


def _blank(like: Tensor, axis: int, length: int) -> Tensor:
    """Zeros of the shape of `like`, but for the length of an axis; the channels of a pixel are neighbours in memory."""
    shape = list(like.shape)
    shape[axis] = length
    channels, height, width = shape
    return torch.zeros(height, width, channels, dtype=like.dtype).permute(2, 0, 1)
