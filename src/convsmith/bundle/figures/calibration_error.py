"""The expected calibration error: how far probabilities are from how often they are right. Needs no torch."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.classification import softmax
from convsmith.bundle.multilabel import probabilities_of

BINS = 15
EDGES = np.linspace(0, 1, BINS + 1)


def equal_bins(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each probability, of 15 of equal width, as torchmetrics has them."""
    bins: NDArray[np.int64] = np.minimum(np.searchsorted(EDGES, confidence, side="right") - 1, BINS - 1)
    return bins


def bins_of(probabilities: NDArray[np.float64]) -> dict[str, NDArray[np.int64]]:
    """The bin of each probability, of any shape, by the figure that has it.

    Those of `ece` have equal width, those of `adaptive_ece` equally many probabilities (Nguyen and O'Connor 2015).
    """
    flat = probabilities.ravel()
    even = np.empty(len(flat), np.int64)
    even[np.argsort(flat, kind="stable")] = np.arange(len(flat)) * BINS // len(flat)
    return {"ece": equal_bins(probabilities), "adaptive_ece": even.reshape(probabilities.shape)}


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The distance of probabilities [N] from the share that is right, in each bin, weighed by how many it has.

    torchmetrics has the same of norm `l1`: `MulticlassCalibrationError` of the highest probabilities,
    `BinaryCalibrationError` of those of each class by itself. NaN of none.
    """
    gaps = CalibrationGaps()
    gaps.add(confidence, right)
    found = gaps.compute()
    return math.nan if found is None else found


class CalibrationGaps:
    """The same error of probabilities that come part by part: the sums of each bin are all that is kept."""

    def __init__(self) -> None:
        self._gaps, self._count = np.zeros(BINS), 0

    def add(self, confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> None:
        """Take in probabilities [N], and whether what they are of is true."""
        self._gaps += np.bincount(equal_bins(confidence), right - confidence, BINS)
        self._count += len(confidence)

    def compute(self) -> float | None:
        """The error; None of no probabilities."""
        return float(np.abs(self._gaps).sum() / self._count) if self._count else None


def judged_probabilities(
    logits: NDArray[np.floating], truth: NDArray[np.bool_], exclusive: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The probabilities that a calibration error is of, and whether what they are of is true, [N] both.

    Args:
        logits: [M, K].
        truth: which classes are true, [M, K].
        exclusive: whether classes exclude each other: then it is the highest of each row, else all of them.
    """
    if not exclusive:
        return probabilities_of(logits).ravel(), truth.ravel()
    p = softmax(logits)
    return p.max(axis=1), truth[np.arange(len(p)), p.argmax(axis=1)]
