"""How well scores rank what is true, by the definitions of scikit-learn. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def score_curve(
    scores: NDArray[Any], truth: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """The different scores, the highest first; how many true ones have at least each, and how many all together.

    Args:
        scores: [M]; equal ones are taken in together.
        truth: [M].
    """
    order, ends = _in_order(scores)
    return scores[order[ends]], np.cumsum(truth[order], dtype=np.int64)[ends], ends + 1


def average_precision(scores: NDArray[Any], truth: NDArray[np.bool_]) -> float | None:
    """The area under the steps of precision over recall, `average_precision_score`; None where nothing is true."""
    _, hits, taken = score_curve(scores, truth)
    return _precision_of(hits, taken) if hits[-1] else None


Ranked = Callable[[NDArray[np.float64]], tuple[float, float]]
"""From how often each pair of score and truth counts, [M], to average precision and AUROC; NaN where there is none."""


def ranked(scores: NDArray[Any], truth: NDArray[np.bool_]) -> Ranked:
    """A function that gives both figures of scores that are put in order once; `average_precision` and `auroc`."""
    order, ends = _in_order(scores)
    true = truth[order]

    def weighed(weights: NDArray[np.float64]) -> tuple[float, float]:
        counts = weights[order]
        hits, taken = np.cumsum(counts * true)[ends], np.cumsum(counts)[ends]
        return _precision_of(hits, taken), _area_of(hits, taken)

    return weighed


def _in_order(scores: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of scores, the highest first; and where in that order the last one of those that are equal stands."""
    order = np.argsort(-scores, kind="stable")
    return order, np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)


def _precision_of(hits: NDArray[Any], taken: NDArray[Any]) -> float:
    if not hits[-1]:
        return float("nan")
    return float((np.diff(hits, prepend=0) * (hits / np.maximum(taken, 1))).sum() / hits[-1])


def _area_of(hits: NDArray[Any], taken: NDArray[Any]) -> float:
    false = taken - hits
    if not hits[-1] or not false[-1]:
        return float("nan")
    steps, heights = np.diff(false, prepend=0), hits + np.append(0, hits[:-1])
    return float((steps * heights).sum() / (2 * hits[-1] * false[-1]))


def auroc(scores: NDArray[Any], truth: NDArray[np.bool_]) -> float | None:
    """The area under the ROC curve, `roc_auc_score`; None where all is true, or nothing."""
    _, hits, taken = score_curve(scores, truth)
    return _area_of(hits, taken) if 0 < hits[-1] < taken[-1] else None
