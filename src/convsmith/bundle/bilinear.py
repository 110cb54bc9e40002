"""Bilinear resizing without a filter, as `F.interpolate` and OpenCV's INTER_LINEAR do it. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STRIP = 2**16  # pixels of a plane that stay in the processor's cache while they are worked on


def resize_bilinear(values: NDArray[Any], size: tuple[int, int], align_corners: bool = False) -> NDArray[np.float32]:
    """`torch.nn.functional.interpolate(mode="bilinear")` of [..., h, w] to `size` (height, width), float32.

    Without `align_corners` pixels are squares, and the outermost half of a pixel repeats the border: OpenCV's rule too.
    With it pixels are points, and the corner points stay where they are.
    """
    return Bilinear((values.shape[-2], values.shape[-1]), size, align_corners).rows(values, slice(0, size[0]))


class Bilinear:
    """`resize_bilinear` from one size to another, of as many rows at a time as are wanted."""

    def __init__(self, source: tuple[int, int], size: tuple[int, int], align_corners: bool = False) -> None:
        self._unchanged = source == size
        self._upper, self._lower, self._down = _neighbours(source[0], size[0], align_corners)
        self._left, self._right, self._across = _neighbours(source[1], size[1], align_corners)

    def source_rows(self, rows: slice) -> slice:
        """The rows of the source that some rows of the result are made of."""
        return rows if self._unchanged else slice(int(self._upper[rows.start]), int(self._lower[rows.stop - 1]) + 1)

    def source_columns(self, columns: slice) -> slice:
        """The columns of the source that some columns of the result are made of."""
        if self._unchanged:
            return columns
        return slice(int(self._left[columns.start]), int(self._right[columns.stop - 1]) + 1)

    def rows(self, values: NDArray[Any], rows: slice) -> NDArray[np.float32]:
        """The rows `rows` of the result, [..., rows, W], of values [..., h, w]; a view of these if nothing changes."""
        everywhere = slice(0, len(self._left))
        return self.part(values[..., self.source_rows(rows), self.source_columns(everywhere)], rows, everywhere)

    def part(self, values: NDArray[Any], rows: slice, columns: slice) -> NDArray[np.float32]:
        """Some rows and columns of the result, of exactly those of the source that they are made of.

        It is a view of these if nothing changes.
        """
        if self._unchanged:
            return values.astype(np.float32, copy=False)
        top, left = self._upper[rows.start], self._left[columns.start]
        before, after = self._left[columns] - left, self._right[columns] - left
        across = _between(values.take(before, axis=-1), values.take(after, axis=-1), self._across[columns])
        upper, lower = self._upper[rows] - top, self._lower[rows] - top
        return _between(across.take(upper, axis=-2), across.take(lower, axis=-2), self._down[rows, None])


def strips(height: int, width: int) -> Iterator[slice]:
    """Parts of a plane, as many rows each as fit into a processor's cache, from the top."""
    step = max(1, _STRIP // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def _between(low: NDArray[Any], high: NDArray[Any], share: NDArray[np.float32]) -> NDArray[np.float32]:
    """`low` plus a share of the way to `high`; both are the caller's own copies."""
    start: NDArray[np.float32] = low.astype(np.float32, copy=False)
    way: NDArray[np.float32] = high.astype(np.float32, copy=False)
    way -= start
    way *= share
    way += start
    return way


def _neighbours(
    source: int, target: int, align_corners: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each of `target` places along a side of `source` pixels: the pixels before and after, and the way between."""
    places = np.arange(target)
    if align_corners:
        at = places * ((source - 1) / max(target - 1, 1))
    else:
        at = np.maximum((places + 0.5) * (source / target) - 0.5, 0)
    before = np.minimum(at.astype(np.intp), source - 1)
    return before, np.minimum(before + 1, source - 1), (at - before).astype(np.float32)
