"""How well scores rank what is true, by the definitions of scikit-learn. Needs no torch."""

from __future__ import annotations

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
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    return ranked[ends], np.cumsum(truth[order])[ends], ends + 1


def average_precision(scores: NDArray[Any], truth: NDArray[np.bool_]) -> float | None:
    """The area under the steps of precision over recall, `average_precision_score`; None where nothing is true."""
    _, hits, taken = score_curve(scores, truth)
    if not hits[-1]:
        return None
    return float((np.diff(hits, prepend=0) * (hits / taken)).sum() / hits[-1])


def auroc(scores: NDArray[Any], truth: NDArray[np.bool_]) -> float | None:
    """The area under the ROC curve, `roc_auc_score`; None where all is true, or nothing."""
    _, hits, taken = score_curve(scores, truth)
    false = taken - hits
    if not hits[-1] or not false[-1]:
        return None
    steps, heights = np.diff(false, prepend=0), hits + np.append(0, hits[:-1])
    return float((steps * heights).sum() / (2 * hits[-1] * false[-1]))
