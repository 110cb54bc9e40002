"""Images in NumPy's files: any number of channels, and never anything that is run."""

from __future__ import annotations

import io
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.images.scaling import channels_last

MAGIC = npy.MAGIC_PREFIX
HEADER = 4096
"""Bytes of a file that its header lies within."""


class Layout(NamedTuple):
    """The facts that the header of a file tells.

    Attributes:
        shape: of the array.
        is_fortran: whether the first axis runs fastest.
        dtype: of a value.
        start: where the values begin.
    """

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    start: int


def layout_of(head: bytes, name: str) -> Layout:
    """The layout that the first `HEADER` bytes of a file tell.

    Raises:
        ImageError: it is not an image of numbers.
        ValueError: it is damaged.
    """
    file = io.BytesIO(head[:HEADER])
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(npy.read_magic(file))
    if read is None:
        raise ImageError(f"cannot read {name}", "it is a NumPy file of an unknown version")
    shape, is_fortran, dtype = read(file, max_header_size=HEADER)
    if dtype.kind not in "uif" or len(shape) not in (2, 3) or 0 in shape:
        raise ImageError(
            f"cannot read {name}",
            f"it is a NumPy file of {dtype} of shape {list(shape)}",
            "Save numbers [H, W], [H, W, C] or [C, H, W] with numpy.save.",
        )
    return Layout(shape, is_fortran, dtype, file.tell())


def values_of(data: bytes, layout: Layout) -> NDArray[Any]:
    """The array of a file. ValueError if it is cut off."""
    values = np.frombuffer(data, layout.dtype, prod(layout.shape), layout.start)
    return values.reshape(layout.shape, order="F" if layout.is_fortran else "C")


def size_of(shape: tuple[int, ...], channels: int) -> tuple[int, int, int]:
    """Height, width and channels of an array, as `channels_last` takes it."""
    height, width, depth = channels_last(np.broadcast_to(0, shape), channels).shape
    return height, width, depth
