"""Figures of several labels, counted the same way while training and for a finished bundle. Needs no torch.

Average precision is scikit-learn's `average_precision_score`; F1 and subset accuracy are its `f1_score` and
`accuracy_score` of 0/1 matrices. torchmetrics has the same for multilabel. A class that no image has counts as 0 in the
means, as in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.figures.chart import Chart
from convsmith.bundle.figures.result_charts import reliability, thresholds
from convsmith.bundle.figures.score_curves import average_precision, score_curve
from convsmith.bundle.multilabel import HALF, probabilities_of, thresholds_of

FIGURES = ("map_macro", "map_micro", "f1_macro", "f1_micro", "subset_accuracy")


class MultilabelResults:
    """Gathers predictions.

    Args:
        thresholds: the probability of each class from which on it is there, [K]; None: one half for all.
    """

    one_answer_each = False

    def __init__(self, thresholds: Sequence[float] | None = None) -> None:
        self.thresholds = thresholds
        self._logits: list[NDArray[np.floating[Any]]] = []
        self._targets: list[NDArray[np.bool_]] = []

    def update(self, logits: NDArray[np.floating[Any]], targets: NDArray[np.uint8]) -> None:
        """Take in logits [N, K] and which classes are there, 0 or 1 [N, K]. Both are copied."""
        self._logits.append(np.array(logits))
        self._targets.append(np.array(targets, np.bool_))

    def add(self, said: Sequence[NDArray[np.floating[Any]]], targets: Sequence[Any]) -> None:
        """`update` with the logits [K] and the classes [K] of each of some images."""
        self.update(np.asarray(said), np.asarray(targets))

    def empty(self) -> MultilabelResults:
        """A collection without predictions."""
        return MultilabelResults(self.thresholds)

    def merge(self, other: MultilabelResults) -> None:
        """Add the predictions of another one."""
        self._logits += other._logits
        self._targets += other._targets

    def compute(self) -> dict[str, float]:
        """The figures over all images; without any image all are NaN.

        `map_macro` is the mean of the classes' average precisions; `map_micro` the average precision of all pairs of
        image and class together. `f1_macro` and `f1_micro` are likewise of F1 at the thresholds, `subset_accuracy` is
        the fraction of images whose classes are all right, and `loss` the mean binary cross-entropy over images and
        classes.
        """
        if not self._targets:
            return dict.fromkeys((*FIGURES, "loss"), float("nan"))
        logits, targets = self._all()
        precisions = [value or 0.0 for value in self._precisions(logits, targets)]
        said = self._said(logits)
        right = said & targets
        return {
            "map_macro": math.fsum(precisions) / len(precisions),
            "map_micro": average_precision(logits.ravel(), targets.ravel()) or 0.0,
            "f1_macro": float(f1_of(right.sum(0), said.sum(0), targets.sum(0)).mean()),
            "f1_micro": float(f1_of(right.sum(), said.sum(), targets.sum())),
            "subset_accuracy": float((said == targets).all(axis=1).mean()),
            # exactly rounded, so it does not depend on the order in which several processes judged
            "loss": math.fsum(_cross_entropy(logits, targets)) / len(targets),
        }

    def by_class(self, num_classes: int) -> dict[str, tuple[float | None, ...]]:
        """Figures of each class [K].

        `positives`: how many images have it; `ap`: its average precision; `precision`, `recall` and `f1` at its
        `threshold`. None where there is nothing to divide by.
        """
        logits, targets = self._all()
        said = self._said(logits)
        right, named, true = ((it).sum(0).tolist() for it in (said & targets, said, targets))
        return {
            "positives": tuple(true),
            "ap": tuple(self._precisions(logits, targets)),
            "precision": tuple(a / b if b else None for a, b in zip(right, named, strict=True)),
            "recall": tuple(a / b if b else None for a, b in zip(right, true, strict=True)),
            "f1": tuple(2 * a / (b + c) if b + c else None for a, b, c in zip(right, named, true, strict=True)),
            "threshold": tuple(thresholds_of(self.thresholds, num_classes).tolist()),
        }

    def confusion_matrix(self, num_classes: int) -> NDArray[np.int64]:  # noqa: ARG002  # the predictions know it
        """Images [K, K] that have the class of the row, and are said to have that of the column."""
        logits, targets = self._all()
        return targets.T.astype(np.int64) @ self._said(logits).astype(np.int64)

    def chance(self, num_classes: int) -> dict[str, float]:  # noqa: ARG002
        """The metrics of a model that sees nothing but knows how frequent each class is.

        It ranks classes by that, and says each of them of all images, which is the best for F1; its subset is the most
        frequent one.
        """
        _, targets = self._all()
        share = targets.mean(axis=0)
        constant = np.broadcast_to(share, targets.shape)
        _, subsets = np.unique(targets, axis=0, return_counts=True)
        return {
            "map_macro": float(share.mean()),
            "map_micro": average_precision(constant.ravel(), targets.ravel()) or 0.0,
            "f1_macro": float((2 * share / (1 + share)).mean()),
            "f1_micro": float(2 * share.mean() / (1 + share.mean())),
            "subset_accuracy": float(subsets.max() / len(targets)),
        }

    @property
    def logits(self) -> NDArray[np.float32]:
        """The logits of all images, [N, K]."""
        return self._all()[0]

    @property
    def targets(self) -> NDArray[np.bool_]:
        """Whether each class is there, for all images, [N, K]."""
        return self._all()[1]

    def losses(self) -> NDArray[np.float64]:
        """The mean binary cross-entropy over the classes of each image, [N]."""
        return _cross_entropy(*self._all())

    def rows(self, labels: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The labels that are `true` and those `predicted`, whether all are `right`, and the `loss` of each image.

        `scores` has the probability of every class, [K].
        """
        logits, targets = self._all()
        for scores, said, true, loss in zip(
            probabilities_of(logits), self._said(logits), targets, self.losses(), strict=True
        ):
            yield {
                "true": [label for label, there in zip(labels, true, strict=True) if there],
                "predicted": [label for label, there in zip(labels, said, strict=True) if there],
                "right": bool((said == true).all()),
                "loss": float(loss),
                "scores": scores.tolist(),
            }

    def charts(self) -> tuple[Chart, ...]:
        """Reliability of the probabilities of all classes, and what a threshold on them costs."""
        logits, targets = self._all()
        probabilities = probabilities_of(logits).ravel()
        truth = targets.ravel().astype(np.float64)
        return reliability(probabilities, truth, "pairs of image and class"), thresholds(probabilities, truth)

    def best_thresholds(self) -> list[float]:
        """The threshold of each class [K] that its F1 over all images is highest with.

        It lies in the middle between two probabilities that occur; among equally good ones that nearest to one half is
        taken, which is also the threshold of a class that no image has.
        """
        logits, targets = self._all()
        return [_best_threshold(logits[:, k], targets[:, k]) for k in range(logits.shape[1])]

    def _all(self) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]:
        return np.concatenate(self._logits), np.concatenate(self._targets)

    def _said(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        said: NDArray[np.bool_] = probabilities_of(logits) >= thresholds_of(self.thresholds, logits.shape[1])
        return said

    def _precisions(self, logits: NDArray[np.floating[Any]], targets: NDArray[np.bool_]) -> list[float | None]:
        return [average_precision(logits[:, k], targets[:, k]) for k in range(logits.shape[1])]


def _best_threshold(logits: NDArray[np.floating[Any]], truth: NDArray[np.bool_]) -> float:
    scores, hits, taken = score_curve(logits, truth)
    if not hits[-1]:
        return HALF
    probabilities = probabilities_of(scores)
    between = (probabilities + np.append(probabilities[1:], 0.0)) / 2
    f1 = f1_of(hits, taken, hits[-1])
    best = np.flatnonzero(f1 == f1.max())
    return float(between[best[np.abs(between[best] - HALF).argmin()]])


def f1_of(right: Any, said: Any, true: Any) -> NDArray[np.float64]:
    """F1 of counts; 0 where nothing is said nor true."""
    f1: NDArray[np.float64] = 2 * right / np.maximum(said + true, 1)
    return f1


def _cross_entropy(logits: NDArray[np.floating[Any]], targets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The mean over the classes of each image, [N]."""
    x = logits.astype(np.float64)
    terms = np.maximum(x, 0) - x * targets + np.log1p(np.exp(-np.abs(x)))
    means: NDArray[np.float64] = terms.mean(axis=1)
    return means
