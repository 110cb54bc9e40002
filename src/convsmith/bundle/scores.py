"""exp(logits) of an image in one size, seen at once or by windows, of as many rows as are wanted. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.bilinear import Bilinear, strips
from convsmith.bundle.images.image_error import NoAnswer
from convsmith.bundle.runtime import Infer
from convsmith.errors import ConvsmithError
from convsmith.spec import WholeImage, Window

Size = tuple[int, int]
"""Height and width."""

_MAX_LOGIT = 80.0  # exp(88.8) is infinite in float32, and sums of many windows and sizes need room


@dataclass(frozen=True)
class Looks:
    """Settings that all looks at an image have in common.

    Attributes:
        planes: the image, uint8 or float32 [C, H, W].
        spec: how it is looked at.
        run: the model.
        num_classes: K.
        padding: what windows show beyond the border, in each channel or in all.
        name: what an error calls the image.
    """

    planes: NDArray[Any]
    spec: WholeImage
    run: Infer
    num_classes: int
    padding: NDArray[Any]
    name: str

    def logits(self, seen: NDArray[Any], window: Window | None) -> Iterator[NDArray[np.float32]]:
        """The logits [h, w] of one part of the image [C, h, w], class by class: large arrays cost time."""
        height, width = seen.shape[1:]
        seen = padded(seen, window, self.padding)
        logits = self._run(seen)
        mirrored = self._run(seen[..., ::-1])[..., ::-1] if self.spec.flip else None
        partner = list(range(self.num_classes))
        for one, other in self.spec.mirrored_classes:
            partner[one], partner[other] = other, one
        for class_id in range(self.num_classes):
            plane = logits[class_id, :height, :width]
            if mirrored is not None:
                plane = plane + mirrored[partner[class_id], :height, :width]
                plane *= 0.5
            if not (np.isfinite(plane.max()) and np.isfinite(plane.min())):
                raise NoAnswer.of_logits(self.name)
            yield plane

    def _run(self, seen: NDArray[Any]) -> NDArray[np.float32]:
        batch = self.run(seen[None].copy())  # torch takes no mirrored view
        if batch.shape != (1, self.num_classes, *seen.shape[1:]):
            raise ConvsmithError(
                "the model does not fit",
                f"of {self.num_classes} classes and an image {seen.shape} it gives logits {batch.shape}",
            )
        logits: NDArray[np.float32] = batch[0]
        return logits


class Powers:
    """exp(logits) of some columns of the image in one size, averaged where windows overlap, from the top down.

    Windows are looked at when their rows are wanted, and rows above those that are wanted are let go of where the next
    windows begin.

    Args:
        looks: what all sizes have in common.
        size: height and width that the image is looked at in.
        window: through which windows; None: at once.
        columns: of that size.
    """

    def __init__(self, looks: Looks, size: Size, window: Window | None, columns: slice) -> None:
        self._looks, self._size, self._window, self._columns = looks, size, window, columns
        rows, across = spans(size, window)
        self._bands = list(reversed(rows))
        self._across = [span for span in across if span.start < columns.stop and span.stop > columns.start]
        self._top = self._complete = 0  # the first row that is held, and the first that windows may still add to
        nothing = np.zeros((0, columns.stop - columns.start), np.float32)
        self._sums, self._count = [nothing] * looks.num_classes, nothing

    def reach(self, rows: slice) -> None:
        """Look at all that rows of the size need; those before them are not asked for any more."""
        while self._complete < rows.stop:
            self._look(self._bands.pop(), rows.start)

    def part(self, class_id: int, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Rows and columns of the size that have been reached, of one class: a view."""
        left = self._columns.start
        held = self._sums[class_id][rows.start - self._top : rows.stop - self._top]
        return held[:, columns.start - left : columns.stop - left]

    def _look(self, rows: slice, wanted: int) -> None:
        """Look through a row of windows; rows above `wanted`, and above the windows, are let go of."""
        top = max(self._top, min(wanted, rows.start))
        gone, height = top - self._top, rows.stop - top
        for class_id, plane in enumerate(self._sums):  # one by one, so that a single plane is held twice
            self._sums[class_id] = _moved(plane, gone, height)
        self._count, self._top = _moved(self._count, gone, height), top
        band, (first, last) = slice(rows.start - top, height), (self._columns.start, self._columns.stop)
        seen = resized(self._looks.planes, self._size, rows)
        for span in self._across:
            inside = slice(max(first - span.start, 0), min(last, span.stop) - span.start)
            place = band, slice(span.start + inside.start - first, span.start + inside.stop - first)
            for plane, logits in zip(self._sums, self._looks.logits(seen[:, :, span], self._window), strict=True):
                powers = np.minimum(logits, np.float32(_MAX_LOGIT))
                plane[place] += np.exp(powers, out=powers)[:, inside]
            self._count[place] += 1
        complete = self._bands[-1].start if self._bands else self._size[0]
        done = slice(self._complete - top, complete - top)
        for plane in self._sums:
            plane[done] /= self._count[done]
        self._complete = complete


def resized(planes: NDArray[Any], size: Size, rows: slice) -> NDArray[Any]:
    """Some rows of an image [C, H, W] in another size, [C, rows, size[1]] of the same type; bytes are rounded."""
    if planes.shape[1:] == size:
        return planes[:, rows]
    way = Bilinear((planes.shape[1], planes.shape[2]), size)
    result = np.empty((len(planes), rows.stop - rows.start, size[1]), planes.dtype)
    for strip in strips(len(result[0]), size[1]):
        part = way.rows(planes, slice(rows.start + strip.start, rows.start + strip.stop))
        result[:, strip] = np.rint(part, out=part) if planes.dtype == np.uint8 else part
    return result


def padded(seen: NDArray[Any], window: Window | None, padding: NDArray[Any]) -> NDArray[Any]:
    """A look [C, h, w], of the window's size where that is filled up at the right and lower border."""
    height, width = seen.shape[1:]
    if window is None or window.border != "pad" or (height, width) == window.size:
        return seen
    result = np.empty((len(seen), *window.size), seen.dtype)
    result[:] = padding[:, None, None]
    result[:, :height, :width] = seen
    return result


def spans(size: Size, window: Window | None) -> tuple[list[slice], list[slice]]:
    """The rows and the columns of windows, from the top left; the last ones end at the border."""
    if window is None:
        return [slice(0, size[0])], [slice(0, size[1])]
    stride = window.stride or (max(1, window.size[0] * 2 // 3), max(1, window.size[1] * 2 // 3))
    rows, columns = (
        _spans(length, side, step, window.border == "shift")
        for length, side, step in zip(size, window.size, stride, strict=True)
    )
    return rows, columns


def _spans(length: int, side: int, step: int, shift: bool) -> list[slice]:
    """Windows along one side of an image, from its start until one reaches its end."""
    last = max(0, length - side)
    starts = [*range(0, last, step), -(-last // step) * step]
    return [slice(min(start, last) if shift else start, min(start + side, length)) for start in starts]


def _moved(plane: NDArray[np.float32], gone: int, height: int) -> NDArray[np.float32]:
    """A plane without its first rows, and with zeros below to a height."""
    moved = np.zeros((height, plane.shape[1]), np.float32)
    moved[: len(plane) - gone] = plane[gone:]
    return moved
