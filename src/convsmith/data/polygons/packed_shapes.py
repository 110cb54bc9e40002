"""The areas of many images in a few arrays, so that workers share them; they become pixels only when a mask is read."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.limits import max_pixels
from convsmith.data.polygons.fill import Area, area_of, fill_polygon, fill_runs, problem_of, problem_of_shares
from convsmith.data.polygons.outlines import OutlinedImage, Outlines, Runs, Shape, refused
from convsmith.data.polygons.run_lengths import check_runs

_POLYGON, _BY_ROWS, _BY_COLUMNS = range(3)  # kinds of an area
_BOX = 4  # numbers of a box, which stand before the counts of runs


@dataclass(frozen=True)
class PackedShapes:
    """Areas of images.

    Attributes:
        numbers: of all areas one after another, float64: corners, or a box and counts.
        ends: where those of each area end, int64 `[A]`.
        kinds: what each is, int8 `[A]`.
        labels: the number of its label, int32 `[A]`; -1: its pixels do not count.
        images: where the areas of each image end, int64 `[N]`.
        sizes: width and height of each image, int32 `[N, 2]`; 0 where they are not known, and corners are shares.
        names: the labels by their numbers.
    """

    numbers: NDArray[np.float64]
    ends: NDArray[np.int64]
    kinds: NDArray[np.int8]
    labels: NDArray[np.int32]
    images: NDArray[np.int64]
    sizes: NDArray[np.int32]
    names: tuple[str, ...]

    def draw(self, i: int, size: tuple[int, int], values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The mask of an image, uint8 `[H, W]`.

        Args:
            i: the number of the image.
            size: its width and height.
            values: the value of each label, last but one of pixels without an area, last of those that do not count.

        Raises:
            ValueError: an area cannot be in an image of that size; it says why.
        """
        width, height = size
        mask = np.full((height, width), values[-2], np.uint8)
        for area in range(*self._areas(i)):
            self._area(area, size, shares=not self.sizes[i, 0]).paint(mask, values[self.labels[area]])
        return mask

    def _areas(self, i: int) -> tuple[int, int]:
        return int(self.images[i - 1]) if i else 0, int(self.images[i])

    def _area(self, area: int, size: tuple[int, int], shares: bool) -> Area:
        width, height = size
        numbers = self.numbers[int(self.ends[area - 1]) if area else 0 : self.ends[area]]
        if self.kinds[area] == _POLYGON:
            corners = numbers.reshape(-1, 2)
            if shares:
                corners = corners * size
                if problem := problem_of(corners, height, width):
                    raise ValueError(problem)
            return fill_polygon(corners, height, width)
        whole = numbers.astype(np.int64)
        left, top, box_width, box_height = whole[:_BOX].tolist()
        pixels = fill_runs(whole[_BOX:], (box_height, box_width), self.kinds[area] == _BY_COLUMNS)
        return Area(top, left, pixels)

    def used(self, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which labels occur in the images at `chosen`, bool `[L]`."""
        starts = np.append(0, self.images[:-1])[chosen]
        taken = np.zeros(len(self.labels) + 1, np.int64)
        np.add.at(taken, starts, 1)
        np.add.at(taken, self.images[chosen], -1)
        labels = self.labels[np.cumsum(taken[:-1]) > 0]
        return np.bincount(labels[labels >= 0], minlength=len(self.names)).astype(np.bool_)

    @cached_property
    def stats(self) -> NDArray[np.int64]:
        """For each image the bytes of its areas, and a hash of them by the names of their labels, int64 `[N, 2]`."""
        named = [name.encode() for name in self.names] + [b""]
        found = np.empty((len(self.images), 2), np.int64)
        for i in range(len(self.images)):
            first, behind = self._areas(i)
            start, end = (int(self.ends[area - 1]) if area else 0 for area in (first, behind))
            content = blake2b(self.numbers[start:end].tobytes(), digest_size=8)
            content.update((self.ends[first:behind] - start).tobytes() + self.kinds[first:behind].tobytes())
            content.update(b"\0".join(named[label] for label in self.labels[first:behind].tolist()))
            content.update(self.sizes[i].tobytes())
            found[i] = 8 * (end - start) + 1, int.from_bytes(content.digest(), "little", signed=True)
        return found


class ShapesBuilder:
    """Collects the areas of images, image after image, and packs them."""

    def __init__(self, outlines: Outlines) -> None:
        self._outlines = outlines
        self._numbers, self._ends, self._kinds = array("d"), array("q"), array("b")
        self._labels, self._images, self._sizes = array("i"), array("q"), array("i")
        self._names: dict[str, int] = {}

    def add(self, image: OutlinedImage) -> None:
        """Take in the areas of an image.

        Raises:
            ConvsmithError: one of them cannot be in an image of that size.
        """
        width, height = image.size or (0, 0)
        if image.size and (min(image.size) < 1 or width * height > max_pixels()):
            what = f"says that it has {width:,} x {height:,} pixels; {max_pixels():,} are allowed, and 1 x 1 the least"
            raise refused(self._outlines.path, image.name, what)
        for shape in image.shapes:
            for area in shape.areas:
                try:
                    _check(area, image.size)
                except ValueError as error:
                    raise refused(self._outlines.path, f"{shape.name} of {image.name}", str(error)) from error
        for shape in self._in_order(image.shapes):
            label = -1 if shape.label is None else self._names.setdefault(shape.label, len(self._names))
            for area in shape.areas:
                self._add_area(area)
                self._labels.append(label)
        self._images.append(len(self._labels))
        self._sizes.extend((width, height))

    def _in_order(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        """Those below first: what does not count, then the areas, the larger below where that is the order."""
        if self._outlines.small_above:
            shapes = sorted(shapes, key=_size, reverse=True)
        return sorted(shapes, key=lambda shape: shape.label is not None)

    def _add_area(self, area: array[float] | Runs) -> None:
        if isinstance(area, Runs):
            self._numbers.extend(area.box)
            self._numbers.extend(area.counts.tolist())
            self._kinds.append(_BY_COLUMNS if area.by_columns else _BY_ROWS)
        else:
            self._numbers.extend(area)
            self._kinds.append(_POLYGON)
        self._ends.append(len(self._numbers))

    def build(self) -> PackedShapes:
        """All areas added."""
        return PackedShapes(
            np.frombuffer(self._numbers, np.float64) if self._numbers else np.empty(0),
            np.asarray(self._ends, np.int64),
            np.asarray(self._kinds, np.int8),
            np.asarray(self._labels, np.int32),
            np.asarray(self._images, np.int64),
            np.asarray(self._sizes, np.int32).reshape(-1, 2),
            tuple(self._names),
        )


def _check(area: array[float] | Runs, size: tuple[int, int] | None) -> None:
    """Raise a ValueError that says why an area cannot be in an image of this size; None: corners are shares of it."""
    if isinstance(area, Runs):
        assert size is not None
        left, top, width, height = area.box
        if min(width, height) < 1 or min(left, top) < 0 or left + width > size[0] or top + height > size[1]:
            box = f"has a mask of {width} x {height} pixels at x {left}, y {top}"
            raise ValueError(f"{box}, outside of the image of {size[0]} x {size[1]}")
        check_runs(area.counts, width * height)
        return
    corners = np.frombuffer(area, np.float64).reshape(-1, 2)
    problem = problem_of_shares(corners) if size is None else problem_of(corners, size[1], size[0])
    if problem:
        raise ValueError(problem)


def _size(shape: Shape) -> float:
    """The pixels of a shape, or of shares of an image the share of it."""
    return sum(
        float(area.counts[1::2].sum()) if isinstance(area, Runs) else area_of(np.frombuffer(area).reshape(-1, 2))
        for area in shape.areas
    )
