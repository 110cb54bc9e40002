"""IoU and accuracy of masks, counted the same way while training and for a finished bundle. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.segment_scored import mask_of
from convsmith.errors import ConvsmithError
from convsmith.spec import IGNORED

_BOUNDARY_WIDTH = 0.02  # of the image's diagonal, as in the paper


class SegmentationResults:
    """Counts pixels of predicted and true masks, image by image at their original size.

    Pixels whose target is `IGNORED` (255) count nowhere. The figures are HRNet's (lib/core/function.py), so a class
    that never occurs counts as 0 in the means over classes. Unlike there, targets that are not a class are an error.

    Args:
        num_classes: K, at most 255.
        boundary: measure Boundary IoU too, which costs some milliseconds for each image.
    """

    one_answer_each = False

    def __init__(self, num_classes: int, boundary: bool = False) -> None:
        self.confusion: NDArray[np.int64] = np.zeros((num_classes, num_classes), np.int64)
        """Pixels [K, K]: rows are true classes, columns predicted ones."""
        self.boundary: NDArray[np.int64] | None = np.zeros((2, num_classes), np.int64) if boundary else None
        """Pixels [2, K] in the intersection and the union of the boundaries of each class; None: not measured."""

    def update(self, prediction: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Take in the predicted and the true classes of one image, both [H, W].

        Raises:
            ConvsmithError: they differ in size, are not bytes, or hold a value that is not a class.
        """
        if prediction.shape != target.shape or prediction.dtype != np.uint8 or target.dtype != np.uint8:
            raise ConvsmithError(
                "a predicted mask cannot be compared with the true one",
                f"they are {prediction.dtype} {prediction.shape} and {target.dtype} {target.shape}",
            )
        num_classes = len(self.confusion)
        codes = target.astype(np.uint16) * 256 + prediction
        pairs = np.bincount(codes.ravel(), minlength=256 * 256).reshape(256, 256)
        pairs[IGNORED] = 0
        _check(pairs.sum(axis=1), num_classes, "true")
        _check(pairs.sum(axis=0), num_classes, "predicted")
        self.confusion += pairs[:num_classes, :num_classes]
        if self.boundary is not None:
            self.boundary += _boundary_counts(prediction, target, num_classes)

    def add(self, said: Sequence[NDArray[np.uint8]], targets: Sequence[NDArray[np.uint8]]) -> None:
        """`update` with each of some images."""
        for prediction, target in zip(said, targets, strict=True):
            self.update(mask_of(prediction), target)

    def empty(self) -> SegmentationResults:
        """A collection of the same figures that has counted nothing."""
        return SegmentationResults(len(self.confusion), self.boundary is not None)

    def merge(self, other: Self) -> None:
        """Add the counts of another one.

        Raises:
            ConvsmithError: it has other classes, or only one of both measured boundaries.
        """
        if self.confusion.shape != other.confusion.shape or (self.boundary is None) != (other.boundary is None):
            raise ConvsmithError("results that counted different things cannot be merged")
        self.confusion += other.confusion
        if self.boundary is not None and other.boundary is not None:
            self.boundary += other.boundary

    def confusion_matrix(self, num_classes: int) -> NDArray[np.int64]:
        """`confusion`, which has `num_classes` rows and columns."""
        assert len(self.confusion) == num_classes
        return self.confusion

    def by_class(self, num_classes: int) -> dict[str, tuple[float | None, ...]]:
        """`iou`, `accuracy` and `pixels` of each class, [K]."""
        assert len(self.confusion) == num_classes
        figures = {"iou": self.iou(), "accuracy": self.accuracy(), "pixels": self.pixels}
        return {name: tuple(values.tolist()) for name, values in figures.items()}

    def chance(self, num_classes: int) -> dict[str, float]:
        """The metrics of a model that names the most frequent class of these pixels everywhere."""
        share = float(self.pixels.max() / max(self.pixels.sum(), 1))
        return {"pixel_accuracy": share, "miou": share / num_classes, "mean_accuracy": 1 / num_classes}

    @property
    def pixels(self) -> NDArray[np.int64]:
        """How many true pixels each class has, [K]; where it is 0, the class's figures mean nothing."""
        pixels: NDArray[np.int64] = self.confusion.sum(axis=1)
        return pixels

    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each class, [K], 0 to 1; 0 for one that was neither true nor predicted."""
        hits = np.diagonal(self.confusion)
        iou: NDArray[np.float64] = hits / np.maximum(self.pixels + self.confusion.sum(axis=0) - hits, 1)
        return iou

    def accuracy(self) -> NDArray[np.float64]:
        """The share of each class's true pixels that were predicted right, [K], 0 to 1; 0 for one without any."""
        return np.diagonal(self.confusion) / np.maximum(self.pixels, 1)

    def boundary_iou(self) -> NDArray[np.float64]:
        """Boundary IoU of each class, [K], 0 to 1; 0 for one that was neither true nor predicted.

        Cheng et al. 2021, arXiv:2103.16562: the boundary of a class in a mask is what lies within 2 % of the image's
        diagonal (at least a pixel) of another class or of the image's border, along rows, columns or diagonals.
        Intersections and unions are summed over all images. Ignored pixels belong to no class, in the prediction too,
        so that their edge is a boundary in both masks.

        Raises:
            ConvsmithError: boundaries were not measured.
        """
        if self.boundary is None:
            raise ConvsmithError("boundaries were not measured", fix="Make SegmentationResults with boundary=True.")
        iou: NDArray[np.float64] = self.boundary[0] / np.maximum(self.boundary[1], 1)
        return iou

    def compute(self) -> dict[str, float]:
        """The figures over all images, 0 to 1; without any pixel all are NaN.

        `miou` and `mean_accuracy` are the means of `iou()` and `accuracy()` over all classes, `pixel_accuracy` is the
        share of pixels predicted right. `boundary_iou`, where it is measured, is the mean over all classes.
        """
        boundary = {} if self.boundary is None else {"boundary_iou": float(self.boundary_iou().mean())}
        total = self.confusion.sum()
        figures = {
            "miou": float(self.iou().mean()),
            "mean_accuracy": float(self.accuracy().mean()),
            "pixel_accuracy": float(np.trace(self.confusion) / max(total, 1)),
            **boundary,
        }
        return figures if total else dict.fromkeys(figures, float("nan"))


def _check(pixels: NDArray[np.int64], num_classes: int, kind: str) -> None:
    wrong = np.flatnonzero(pixels[num_classes:])
    if len(wrong):
        value = num_classes + int(wrong[0])
        raise ConvsmithError(
            f"a {kind} mask holds the class {value}",
            f"the classes are 0 to {num_classes - 1}, and {IGNORED} is ignored in true masks",
        )


def _boundary_counts(prediction: NDArray[np.uint8], target: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """Pixels [2, K] in the intersection and the union of the boundaries of each class."""
    width = max(1, round(_BOUNDARY_WIDTH * float(np.hypot(*target.shape))))
    prediction = np.where(target == IGNORED, np.uint8(IGNORED), prediction)
    predicted, true = _boundary(prediction, width), _boundary(target, width)
    both = predicted & true & (prediction == target)
    common, ours, theirs = (
        np.bincount((chosen * np.uint16(256) + mask).ravel(), minlength=512)[256 : 256 + num_classes]
        for mask, chosen in ((target, both), (prediction, predicted), (target, true))
    )
    return np.stack([common, ours + theirs - common])


def _boundary(mask: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """Where the square of 2 width + 1 pixels around a pixel is not all of the pixel's class, or not all in the image.

    For all classes at once: what remains after each class is eroded by the square are the places whose square holds no
    change of class. Running counts of changes find them, first along the rows, then the columns.
    """
    along_row = _changes_nearby(mask, np.zeros(mask.shape, np.bool_), width)
    return np.ascontiguousarray(_changes_nearby(mask.T, along_row.T, width).T)


def _changes_nearby(mask: NDArray[np.uint8], marked: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Along each row: where the pixels up to `width` away differ, or one is marked or outside."""
    events = np.zeros(mask.shape, np.int32)
    events[:, 1:] = (mask[:, 1:] != mask[:, :-1]) | marked[:, 1:] | marked[:, :-1]
    count = events.cumsum(axis=1, dtype=np.int32)
    found = np.ones(mask.shape, np.bool_)
    found[:, width:-width] = count[:, 2 * width :] != count[:, : -2 * width]
    return found
