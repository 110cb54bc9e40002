"""Accuracy, counted the same way while training and for a finished bundle. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.classification import log_softmax
from convsmith.bundle.figures.ranking import highest_classes

TOP = 5


class ClassificationResults:
    """Gathers predictions."""

    one_answer_each = True

    def __init__(self) -> None:
        self._targets: list[NDArray[np.int64]] = []
        self._top: list[NDArray[np.int64]] = []
        self._log_likelihoods: list[NDArray[np.float64]] = []

    def update(self, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> None:
        """Take in logits [N, K] and class indices [N]. Between equal logits the lower class index counts as higher.

        What is kept is copied, a few numbers for each image: a view would keep its batch in memory.
        """
        self._log_likelihoods.append(np.take_along_axis(log_softmax(logits), targets[:, None], axis=1)[:, 0])
        self._top.append(highest_classes(logits, TOP))
        self._targets.append(targets.copy())

    def add(self, said: Sequence[NDArray[np.float32]], targets: Sequence[Any]) -> None:
        """`update` with the logits [K] and the class index of each of some images."""
        self.update(np.asarray(said), np.asarray(targets))

    def empty(self) -> ClassificationResults:
        """A collection without predictions."""
        return ClassificationResults()

    def merge(self, other: Self) -> None:
        """Add the predictions of another one."""
        self._targets += other._targets
        self._top += other._top
        self._log_likelihoods += other._log_likelihoods

    @property
    def targets(self) -> NDArray[np.int64]:
        """The true class of each image, [N]."""
        return np.concatenate(self._targets)

    @property
    def predictions(self) -> NDArray[np.int64]:
        """The class of the highest logit of each image, [N]."""
        return np.concatenate(self._top)[:, 0]

    def compute(self) -> dict[str, float]:
        """The figures over all images.

        `loss` is the mean cross-entropy without smoothing, `top1` and `top5` are fractions of images, 0 to 1, and
        `balanced_accuracy` is the mean of the classes' own fractions of `top1`, over the classes that have images. With
        five classes or fewer `top5` is 1 by definition. Without any image all are NaN.
        """
        if not self._targets:
            return dict.fromkeys(("loss", "top1", "top5", "balanced_accuracy"), float("nan"))
        targets = self.targets
        hits = np.concatenate(self._top) == targets[:, None]
        counts = np.bincount(targets)
        right = np.bincount(targets[hits[:, 0]], minlength=len(counts))
        return {
            # exactly rounded, so it does not depend on the order in which several processes judged
            "loss": -math.fsum(np.concatenate(self._log_likelihoods)) / len(targets),
            "top1": float(hits[:, 0].mean()),
            "top5": float(hits.any(axis=1).mean()),
            "balanced_accuracy": float((right[counts > 0] / counts[counts > 0]).mean()),
        }

    def confusion_matrix(self, num_classes: int) -> NDArray[np.int64]:
        """Counts [K, K]: rows are true classes, columns predicted ones."""
        pairs = self.targets * num_classes + self.predictions
        return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)

    def by_class(self, num_classes: int) -> dict[str, tuple[float | None, ...]]:
        """`per_class`: the fraction right of each class [K], None for a class without images."""
        confusion = self.confusion_matrix(num_classes)
        pairs = zip(np.diag(confusion), confusion.sum(axis=1), strict=True)
        return {"per_class": tuple(float(right / count) if count else None for right, count in pairs)}

    def chance(self, num_classes: int) -> dict[str, float]:
        """The metrics of a model that names the most frequent class of these images, whatever it sees."""
        counts = np.bincount(self.targets, minlength=num_classes)
        share = float(counts.max() / max(counts.sum(), 1))
        return {"top1": share, "balanced_accuracy": 1 / max(int((counts > 0).sum()), 1)}
