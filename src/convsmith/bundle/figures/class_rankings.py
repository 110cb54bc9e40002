"""How well the probabilities of each class rank its images above the others. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.figures.score_curves import ranked

RANKINGS = ("average_precision", "auroc")


def class_rankings(probabilities: NDArray[np.float32], targets: NDArray[np.int64]) -> dict[str, list[float | None]]:
    """Average precision and AUROC of each class against the rest, [K]; None where it has no images, or all.

    Args:
        probabilities: [N, K].
        targets: the class of each image, [N].
    """
    columns, once = np.ascontiguousarray(probabilities.T), np.ones(len(targets))
    pairs = [ranked(scores, targets == k)(once) for k, scores in enumerate(columns)]
    found = ([None if math.isnan(it) else it for it in values] for values in zip(*pairs, strict=True))
    return dict(zip(RANKINGS, found, strict=True))


def mean_rankings(
    probabilities: NDArray[np.float32], targets: NDArray[np.int64]
) -> Callable[[NDArray[np.float64]], dict[str, float]]:
    """A function that gives the means of both over the classes that have images, where each image counts so often."""
    truth = targets[:, None] == np.arange(probabilities.shape[1])
    there = np.flatnonzero(truth.any(axis=0)).tolist()
    of_classes = [ranked(probabilities[:, k], truth[:, k]) for k in there]

    def figures(weights: NDArray[np.float64]) -> dict[str, float]:
        pairs = np.array([of_class(weights) for of_class in of_classes])
        known = [values[np.isfinite(values)] for values in pairs.T]
        means = [float(values.mean()) if len(values) else math.nan for values in known]
        return dict(zip(RANKINGS, means, strict=True))

    return figures


def known_mean(values: Sequence[float | None]) -> float:
    """The mean of those that are measured; NaN where none is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else math.nan
