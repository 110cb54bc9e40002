"""Labels that are probably wrong, by confident learning on predictions of images that the model has not learned from.

Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021: a class is predicted
with confidence where its probability is at least the mean of that probability over the images labelled so. The images
whose confident class is not their label make the off-diagonal of the confident joint, and are the label errors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-6  # as in cleanlab


def find_label_errors(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """The images whose labels are probably wrong, the most certain first, int64 `[M]`.

    The result is that of `cleanlab.filter.find_label_issues(..., filter_by="confident_learning",
    return_indices_ranked_by="self_confidence")`.

    Args:
        labels: the class of each image, int64 `[N]` in 0 to K - 1.
        probabilities: of each class, `[N, K]`, by models that have not learned from that image.
    """
    given = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    thresholds = np.bincount(labels, given, probabilities.shape[1]) / np.maximum(counts, 1)
    thresholds[counts == 0] = np.inf
    confident = probabilities >= thresholds - _ROUNDING
    likeliest = probabilities.argmax(axis=1)
    guessed = np.where(confident.sum(axis=1) > 1, likeliest, confident.argmax(axis=1))
    wrong = confident.any(axis=1) & (guessed != labels) & (likeliest != labels)
    found = np.flatnonzero(wrong)
    return found[np.argsort(given[found], kind="stable")]
