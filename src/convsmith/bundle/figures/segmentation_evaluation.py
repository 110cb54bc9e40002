"""Figures of a finished segmentation, beside those that a training needs. Needs no torch.

Dice, precision and recall are those of each class's pixels over all images (torchmetrics' and scikit-learn's F1,
precision and recall). The means leave out classes that are neither true nor predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.figures.certainty_intervals import Interval, bootstrap
from convsmith.bundle.figures.chart import Chart
from convsmith.bundle.figures.result_charts import distribution
from convsmith.bundle.figures.segmentation_metrics import SegmentationResults

_OVER_CLASSES = ("miou_present", "dice", "precision", "recall")
MORE = (*_OVER_CLASSES, "image_iou")
"""Figures beside those of `SegmentationResults`: means over the classes that occur, and over the images."""

Counts = NDArray[np.float64]
"""Pixels [3, K] that are right, that are true, and that are predicted."""


_OF_IMAGES = ("pixel_accuracy", "miou_present", "dice")


class _Image(NamedTuple):
    """The confusion of one image.

    Attributes:
        pairs: the places in the confusion [K * K] that are not 0.
        pixels: how many there are of each.
        edges: of its boundaries, [2, K]; None: not measured.
    """

    pairs: NDArray[np.int64]
    pixels: NDArray[np.int64]
    edges: NDArray[np.int64] | None


class SegmentationEvaluation(SegmentationResults):
    """Counts pixels of predicted and true masks, and keeps the confusion of each image, by its pairs that occur."""

    score = "image_iou"

    def __init__(self, num_classes: int, boundary: bool = False) -> None:
        super().__init__(num_classes, boundary)
        self._images: list[_Image] = []

    def update(self, prediction: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Take in the classes of one image, both [H, W]; see `SegmentationResults`."""
        before, edges_before = self.confusion.copy(), None if self.boundary is None else self.boundary.copy()
        super().update(prediction, target)
        pairs = (self.confusion - before).ravel()
        there = np.flatnonzero(pairs)
        edges = None if self.boundary is None or edges_before is None else self.boundary - edges_before
        self._images.append(_Image(there, pairs[there], edges))

    def empty(self) -> SegmentationEvaluation:
        """A collection of the same figures that has counted nothing."""
        return SegmentationEvaluation(len(self.confusion), self.boundary is not None)

    def merge(self, other: Self) -> None:
        """Add the counts of another one, image by image."""
        super().merge(other)
        self._images += other._images

    def select(self, numbers: NDArray[np.int64]) -> SegmentationEvaluation:
        """A collection of the images of these numbers, each as often as it is named."""
        chosen = self.empty()
        for number in numbers.tolist():
            image = self._images[number]
            chosen.confusion.ravel()[image.pairs] += image.pixels
            if chosen.boundary is not None:
                chosen.boundary += image.edges
            chosen._images.append(image)
        return chosen

    def losses(self) -> NDArray[np.float64]:
        """1 less the mean IoU of the classes that are true or predicted in the image, for each image, [N]."""
        return np.array([1 - row["miou_present"] for row in self.rows(())])

    def rows(self, labels: Sequence[str]) -> Iterator[dict[str, Any]]:  # noqa: ARG002  # pixels have them, not images
        """How many `pixels` count in each image, and its own `pixel_accuracy`, `miou_present` and `dice`.

        An image without pixels that count has 1 in all figures: nothing is wrong in it.
        """
        for counts in self._counts_of_images():
            figures = _figures(counts, _OF_IMAGES) if counts.any() else dict.fromkeys(_OF_IMAGES, 1.0)
            yield {"pixels": int(counts[1].sum()), **figures}

    def charts(self) -> tuple[Chart, ...]:
        """How the images differ in their own mean IoU."""
        return (distribution(self.scores(), "Images by their own mean IoU", "mean IoU of the classes in an image"),)

    def compute(self) -> dict[str, float]:
        """The figures over all images, 0 to 1; without any pixel all are NaN."""
        found = super().compute()
        counts = self._counts().astype(np.float64)
        if not counts.any():
            return {**found, **dict.fromkeys(MORE, float("nan"))}
        return {**found, **_figures(counts, _OVER_CLASSES), "image_iou": float(self.scores().mean())}

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
        """The 95 % intervals of the figures, by bootstrap over the images."""
        return bootstrap(self.weigher(), len(self._images))

    def weigher(self) -> Callable[[NDArray[np.float64]], dict[str, float]]:
        """All figures, where each image counts so often; where it has no pixels that count, it counts in none."""
        images, scores = self._counts_of_images(), self.scores()
        edges = None if self.boundary is None else np.array([image.edges for image in self._images], np.float64)

        def figures(weights: NDArray[np.float64]) -> dict[str, float]:
            found = _figures(
                np.tensordot(weights, images, 1), ("miou", "mean_accuracy", "pixel_accuracy", *_OVER_CLASSES)
            )
            found["image_iou"] = float(weights @ scores / weights.sum())
            if edges is not None:
                common, union = np.tensordot(weights, edges, 1)
                found["boundary_iou"] = float((common / np.maximum(union, 1)).mean())
            return found

        return figures

    def scores(self) -> NDArray[np.float64]:
        """The mean IoU of the classes that are true or predicted in each image, [N]."""
        return 1 - self.losses()

    def images_of_classes(self, num_classes: int) -> list[NDArray[np.int64]]:
        """The numbers of the images that show each class."""
        there = self._counts_of_images()[:, 1] > 0
        return [np.flatnonzero(there[:, k]) for k in range(num_classes)]

    def _counts(self) -> NDArray[np.int64]:
        return np.stack([np.diagonal(self.confusion), self.confusion.sum(axis=1), self.confusion.sum(axis=0)])

    def _counts_of_images(self) -> NDArray[np.float64]:
        """`Counts` of each image, [N, 3, K]."""
        classes = len(self.confusion)
        found = np.zeros((len(self._images), 3, classes))
        for counts, image in zip(found, self._images, strict=True):
            true, said = np.divmod(image.pairs, classes)
            counts[0] = np.bincount(true, image.pixels * (true == said), classes)
            counts[1:] = np.bincount(true, image.pixels, classes), np.bincount(said, image.pixels, classes)
        return found


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
