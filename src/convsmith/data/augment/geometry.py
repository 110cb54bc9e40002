"""Changes of shape and place, in which an image and its mask move together."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from convsmith.spec import IGNORED, Size

# Whether torchvision resizes bytes on this processor as they are, and not as floating-point numbers.
_TAKES_BYTES = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


class Sample(NamedTuple):
    """An image that is augmented, and its mask.

    Attributes:
        image: uint8 `[3, H, W]`.
        mask: uint8 `[H, W]`, classes and `IGNORED`; None where a sample has no mask.
    """

    image: Tensor
    mask: Tensor | None

    @property
    def size(self) -> Size:
        """Height and width."""
        height, width = self.image.shape[1:]
        return height, width


class Box(NamedTuple):
    """A part of an image, in pixels; it may reach over the borders."""

    top: int
    left: int
    height: int
    width: int


Change = Callable[[Sample], Sample]


def resized(sample: Sample, size: Size, mode: InterpolationMode, antialias: bool) -> Sample:
    """A sample of another size; the mask by nearest, whose rounding is OpenCV's.

    Args:
        sample: the sample.
        size: height and width.
        mode: interpolation of the image.
        antialias: filter an image that becomes smaller.
    """
    image, mask = sample
    if size == sample.size:
        return sample
    packed = image.permute(1, 2, 0)[None].contiguous().permute(0, 3, 1, 2)  # or torch repacks what it makes
    if _TAKES_BYTES and mode in (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC):
        # as torchvision does in the end, without what it looks up before
        done = interpolate(packed, size, mode=mode.value, align_corners=False, antialias=antialias)
    else:
        done = functional.resize(packed, list(size), mode, antialias=antialias)
    return Sample(done[0], None if mask is None else functional.resize_mask(mask, list(size)))


def padded(sample: Sample, left: int, right: int, top: int, bottom: int) -> Sample:
    """A sample with black pixels around it, which its mask ignores."""
    if not (left or right or top or bottom):
        return sample
    image, mask = sample
    pad = torch.nn.functional.pad
    border = [left, right, top, bottom]
    return Sample(pad(image, border), None if mask is None else pad(mask, border, value=IGNORED))


def cut(sample: Sample, top: int, left: int, size: Size) -> Sample:
    """A part of a sample, as views."""
    rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
    image, mask = sample
    return Sample(image[:, rows, columns], None if mask is None else mask[rows, columns])


def mirrored(sample: Sample, axis: int, classes: Tensor | None) -> Sample:
    """A sample flipped upside down or left to right.

    Args:
        sample: the sample.
        axis: -2 or -1.
        classes: uint8 `[256]`, what each value of the mask becomes, such as a left arm a right one; None keeps them.
    """
    image, mask = sample
    if mask is not None:
        mask = mask.flip(axis)
        if classes is not None:
            mask = classes[mask.int()]
    return Sample(image.flip(axis), mask)
