"""Figures of a finished segmentation, beside those that a training needs. Needs no torch.

Dice, precision and recall are those of each class's pixels over all images (torchmetrics' and scikit-learn's F1,
precision and recall). The means leave out classes that are neither true nor predicted.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.figures.certainty_intervals import Interval, bootstrap
from convsmith.bundle.figures.segmentation_metrics import SegmentationResults

MORE = ("miou_present", "dice", "precision", "recall")
"""Figures beside those of `SegmentationResults`; means over the classes that occur."""

Counts = NDArray[np.float64]
"""Pixels [3, K] that are right, that are true, and that are predicted."""


class SegmentationEvaluation(SegmentationResults):
    """Counts pixels of predicted and true masks, and keeps the counts of each image."""

    def __init__(self, num_classes: int, boundary: bool = False) -> None:
        super().__init__(num_classes, boundary)
        self._images: list[NDArray[np.int64]] = []

    def update(self, prediction: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Take in the classes of one image, both [H, W]; see `SegmentationResults`."""
        before = self._counts()
        super().update(prediction, target)
        self._images.append(self._counts() - before)

    def empty(self) -> SegmentationEvaluation:
        """A collection of the same figures that has counted nothing."""
        return SegmentationEvaluation(len(self.confusion), self.boundary is not None)

    def merge(self, other: Self) -> None:
        """Add the counts of another one, image by image."""
        super().merge(other)
        self._images += other._images

    def compute(self) -> dict[str, float]:
        """The figures over all images, 0 to 1; without any pixel all are NaN."""
        found = super().compute()
        counts = self._counts().astype(np.float64)
        return {**found, **(_figures(counts, MORE) if counts.any() else dict.fromkeys(MORE, float("nan")))}

    def by_class(self, num_classes: int) -> dict[str, tuple[float | None, ...]]:
        """`iou`, `accuracy` and `pixels` as ever; `dice`, `precision` and `recall` of each class, [K].

        None for a class that is neither true nor predicted.
        """
        _, true, said = counts = self._counts().astype(np.float64)
        values = _by_class(counts)
        occurs = (true + said) > 0
        more = {
            name: tuple(float(x) if there else None for x, there in zip(values[name], occurs, strict=True))
            for name in ("dice", "precision", "recall")
        }
        return {**super().by_class(num_classes), **more}

    def intervals(self) -> dict[str, Interval]:
        """The 95 % intervals of the figures, by bootstrap over the images; those of boundaries are not estimated."""
        images = np.asarray(self._images, np.float64)
        names = ("miou", "mean_accuracy", "pixel_accuracy", *MORE)
        return bootstrap(lambda weights: _figures(np.tensordot(weights, images, 1), names), len(images))

    def _counts(self) -> NDArray[np.int64]:
        return np.stack([np.diagonal(self.confusion), self.confusion.sum(axis=1), self.confusion.sum(axis=0)])


def _by_class(counts: Counts) -> dict[str, NDArray[np.float64]]:
    """Figures of each class, [K]; 0 where there is nothing to divide by."""
    right, true, said = counts
    return {
        "iou": right / np.maximum(true + said - right, 1),
        "dice": 2 * right / np.maximum(true + said, 1),
        "precision": right / np.maximum(said, 1),
        "recall": right / np.maximum(true, 1),
    }


def _figures(counts: Counts, names: tuple[str, ...]) -> dict[str, float]:
    """Some figures over all classes, by name."""
    right, true, said = counts
    values, occurs = _by_class(counts), (true + said) > 0
    found = {
        "miou": values["iou"].mean(),
        "mean_accuracy": values["recall"].mean(),
        "pixel_accuracy": right.sum() / max(true.sum(), 1),
        "miou_present": values["iou"][occurs].mean(),
        **{name: values[name][occurs].mean() for name in ("dice", "precision", "recall")},
    }
    return {name: float(found[name]) for name in names}
