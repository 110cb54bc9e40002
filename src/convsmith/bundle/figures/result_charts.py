"""Charts of how far a model's probabilities can be trusted, and what a threshold on them costs. Needs no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.figures.calibration_error import BINS, EDGES, equal_bins
from convsmith.bundle.figures.chart import Chart, Line

_THRESHOLDS = np.linspace(0, 1, 101)


def reliability(probabilities: NDArray[Any], right: NDArray[Any], what: str) -> Chart:
    """How often answers of each probability are right (DeGroot and Fienberg 1983), over 15 bins of equal width.

    Args:
        probabilities: of answers, [M].
        right: whether each is right, [M].
        what: what is counted, such as images.
    """
    places = equal_bins(probabilities)
    counts = np.bincount(places, minlength=BINS)
    there = counts > 0
    mean = np.bincount(places, probabilities, BINS)[there] / counts[there]
    share = np.bincount(places, right, BINS)[there] / counts[there]
    return Chart(
        "Reliability",
        "probability of the answer",
        "share that is right",
        {"right": _line(mean, share)},
        {f"share of {what}": _line((EDGES[:-1] + EDGES[1:]) / 2, counts / max(counts.sum(), 1))},
        diagonal=True,
        fractions=True,
        note="On the dotted line a probability is what it says; below it the model is surer than it is right.",
    )


def answered(confidence: NDArray[Any], right: NDArray[Any]) -> Chart:
    """The share that is right if only answers from a probability on are given, and how many those are; [N] each."""
    taken, hits = _at_least(confidence, np.ones(len(confidence))), _at_least(confidence, right)
    there = taken > 0
    return Chart(
        "What a threshold costs",
        "least probability that is answered",
        "share of images",
        {
            "answered": _line(_THRESHOLDS, taken / max(len(confidence), 1)),
            "right of those answered": _line(_THRESHOLDS[there], hits[there] / taken[there]),
        },
        fractions=True,
        note="Where only sure answers are given, more of them are right, and more images are left to a person.",
    )


def thresholds(probabilities: NDArray[Any], truth: NDArray[Any]) -> Chart:
    """Precision, recall and F1 of all pairs of image and class at one threshold for all; [M] each."""
    said, hits = _at_least(probabilities, np.ones(len(probabilities))), _at_least(probabilities, truth)
    true, there = max(float(truth.sum()), 1.0), said > 0
    return Chart(
        "What a threshold costs",
        "least probability that counts as there",
        "over all pairs of image and class",
        {
            "precision": _line(_THRESHOLDS[there], hits[there] / said[there]),
            "recall": _line(_THRESHOLDS, hits / true),
            "F1": _line(_THRESHOLDS, 2 * hits / (said + true)),
        },
        fractions=True,
    )


def distribution(values: NDArray[Any], title: str, across: str) -> Chart:
    """How many images have a figure between 0 and 1 of each size."""
    counts, edges = np.histogram(values, bins=20, range=(0, 1))
    return Chart(title, across, "images", bars={"images": _line((edges[:-1] + edges[1:]) / 2, counts)})


def _at_least(scores: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float64]:
    """The weights of all scores that reach each threshold, summed."""
    places = np.searchsorted(_THRESHOLDS, scores, side="right")
    sums = np.bincount(places, weights, len(_THRESHOLDS) + 1)
    found: NDArray[np.float64] = np.cumsum(sums[::-1])[::-1][1:].astype(np.float64)
    return found


def _line(across: NDArray[Any], up: NDArray[Any]) -> Line:
    return tuple(map(float, across)), tuple(map(float, up))
