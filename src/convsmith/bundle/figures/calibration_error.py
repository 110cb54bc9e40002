"""The expected calibration error: how far probabilities are from how often they are right. Needs no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    `BinaryCalibrationError` of those of each class by itself.
    """
    gaps = np.bincount(equal_bins(confidence), right - confidence, BINS)
    return float(np.abs(gaps).sum() / len(confidence))
