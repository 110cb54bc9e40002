"""The rule by which polygons and runs become pixels: that of COCO's own programs (pycocotools).

A polygon's outline is rounded to fifths of a pixel and walked from fifth to fifth; a column of pixels is filled between
the places where the outline crosses its middle. So its pixels are neither Pillow's nor OpenCV's, which differ by
a fifth of a small one. The published figures of COCO are made with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_FINE = 5  # steps of the outline in a pixel
_MIDDLE = 2  # of these steps, the one that is crossed in the middle of a pixel
_AT_ONCE = 2**20  # steps of the outline that are held at once
_FAR = 1  # times the image's width or height that an outline may reach beyond it


Number = TypeVar("Number", np.float64, np.int64)


@dataclass(frozen=True)
class Area:
    """Pixels of an image: those that are True in a box of it.

    Attributes:
        top: the first row of the box.
        left: its first column.
        pixels: bool `[h, w]`.
    """

    top: int
    left: int
    pixels: NDArray[np.bool_]

    def paint(self, mask: NDArray[np.uint8], value: int) -> None:
        """Set the pixels of a mask `[H, W]` to a value."""
        height, width = self.pixels.shape
        mask[self.top : self.top + height, self.left : self.left + width][self.pixels] = value


def fill_polygon(corners: NDArray[np.float64], height: int, width: int) -> Area:
    """The pixels of a polygon in an image.

    Args:
        corners: x and y of each corner, `[K, 2]`, K at least 1, as `problem_of` lets them pass; 0 is the outer edge of
            the first pixel.
        height: of the image.
        width: of the image.
    """
    fine = (corners * _FINE + 0.5).astype(np.int64)
    ends = _following(fine)
    steps = np.abs(ends - fine).max(axis=1)
    crossings = [np.empty((2, 0), np.int64)]
    groups = np.flatnonzero(np.diff(np.cumsum(steps + 1) // _AT_ONCE)) + 1
    for some, some_ends, lengths in zip(*(np.split(it, groups) for it in (fine, ends, steps)), strict=True):
        crossings.append(_crossings(some, some_ends, lengths, (height, width)))
    columns, rows = np.concatenate(crossings, axis=1)
    if not len(columns):
        return Area(0, 0, np.zeros((0, 0), np.bool_))
    top, left = int(rows.min()), int(columns.min())
    toggles = np.zeros((int(columns.max()) - left + 1, int(rows.max()) - top + 1), np.uint8)
    np.bitwise_xor.at(toggles, (columns - left, rows - top), 1)
    filled = np.bitwise_xor.accumulate(toggles, axis=1)[:, :-1]
    return Area(top, left, filled.T.astype(np.bool_))


def _crossings(
    starts: NDArray[np.int64], ends: NDArray[np.int64], lengths: NDArray[np.int64], size: tuple[int, int]
) -> NDArray[np.int64]:
    """Column and row, `[2, C]`, of each place where edges cross the middle of a column of pixels; rows reach to H."""
    height, width = size
    delta = ends - starts
    flat = np.abs(delta[:, 0]) >= np.abs(delta[:, 1])  # walked along x, else along y
    along = np.where(flat, 0, 1)[:, None]
    backwards = np.take_along_axis(delta, along, 1) < 0
    origins = np.where(backwards, ends, starts)  # each edge is rounded alike in both directions
    across = np.take_along_axis(np.where(backwards, -delta, delta), 1 - along, 1)[:, 0]
    slopes = across / np.maximum(lengths, 1)
    edge = np.repeat(np.arange(len(starts)), lengths + 1)
    place = np.arange(len(edge)) - np.repeat(np.cumsum(lengths + 1) - (lengths + 1), lengths + 1)
    place = np.where(backwards[:, 0][edge], lengths[edge] - place, place)
    main = np.take_along_axis(origins, along, 1)[:, 0][edge] + place
    other = (np.take_along_axis(origins, 1 - along, 1)[:, 0][edge] + slopes[edge] * place + 0.5).astype(np.int64)
    x, y = np.where(flat[edge], main, other), np.where(flat[edge], other, main)
    low = np.minimum(x[1:], x[:-1])
    crossed = np.flatnonzero((x[1:] != x[:-1]) & (low % _FINE == _MIDDLE) & (edge[1:] == edge[:-1]))
    columns = low[crossed] // _FINE
    rows = (np.minimum(y[1:], y[:-1])[crossed] + _MIDDLE) // _FINE
    inside = (columns >= 0) & (columns < width)
    return np.stack([columns[inside], np.clip(rows[inside], 0, height)])


def fill_runs(counts: NDArray[np.int64], size: tuple[int, int], by_columns: bool) -> NDArray[np.bool_]:
    """Pixels bool `[H, W]` of runs that are out of the area and in it by turns.

    Args:
        counts: the length of each run; they add up to all pixels.
        size: height and width.
        by_columns: runs go down column after column, else row after row.
    """
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(size[::-1]).T if by_columns else flat.reshape(size)


def problem_of(corners: NDArray[np.float64], height: int, width: int) -> str | None:
    """The reason, in words, why a polygon cannot be in an image of this size; None if it can."""
    if problem := _problem_of_numbers(corners):
        return problem
    beyond = (corners < (-_FAR * width, -_FAR * height)) | (corners > ((1 + _FAR) * width, (1 + _FAR) * height))
    if beyond.any():
        x, y = corners[beyond.any(axis=1)][0]
        return f"has a corner at x {x:g}, y {y:g}, far outside the image of {width} x {height} pixels"
    length = np.abs(_following(corners) - corners).max(axis=1).sum()
    if length > 4 * width * height + 16 * (width + height):
        return f"has an outline of {length:,.0f} pixels, more than an image of {width} x {height} has room for"
    return None


def problem_of_shares(corners: NDArray[np.float64]) -> str | None:
    """The same of a polygon whose corners are shares of the image, of any size; its outline is measured later."""
    if problem := _problem_of_numbers(corners):
        return problem
    beyond = ((corners < -_FAR) | (corners > 1 + _FAR)).any(axis=1)
    if beyond.any():
        x, y = corners[beyond][0]
        return f"has a corner at x {x:g}, y {y:g}, far outside the image, which is 0 to 1"
    return None


def _problem_of_numbers(corners: NDArray[np.float64]) -> str | None:
    if len(corners) < 3:
        return f"has a polygon of {len(corners)} corners, and three are the least"
    return None if np.isfinite(corners).all() else "has a corner that is not a number"


def area_of(corners: NDArray[np.float64]) -> float:
    """The area in pixels that the corners `[K, 2]` of a polygon enclose."""
    (x, y), (next_x, next_y) = corners.T, _following(corners).T
    return float(abs(x @ next_y - y @ next_x) / 2)


def _following(corners: NDArray[Number]) -> NDArray[Number]:
    """The corner behind each, and behind the last the first."""
    return np.concatenate((corners[1:], corners[:1]))
