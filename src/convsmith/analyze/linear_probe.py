"""Predictions of images from their embeddings, each by a linear classifier that has not learned from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.classification import softmax

FOLDS = 5
_SHRINKAGE = 0.01  # of the covariance towards equal variances: fewer images than numbers must do
_AT_ONCE = 2**16


def predict_in_folds(
    embeddings: NDArray[np.floating], labels: NDArray[np.int64], folds: NDArray[np.int64], num_classes: int
) -> NDArray[np.float32]:
    """The probabilities `[N, K]` of each class, by linear discriminant analysis on the images of the other folds.

    It has no setting and no random number, and few wrong labels hardly move it: a class is its mean, and all share one
    covariance.

    Args:
        embeddings: numbers of each image, `[N, D]`.
        labels: the class of each, int64 `[N]`.
        folds: the fold of each, int64 `[N]` in 0 to `FOLDS` - 1.
        num_classes: K; a class without images in the other folds gets 0.
    """
    found = np.zeros((len(labels), num_classes), np.float32)
    counts = np.zeros((FOLDS, num_classes))
    sums = np.zeros((FOLDS, num_classes, embeddings.shape[1]))
    squares = np.zeros((FOLDS, embeddings.shape[1], embeddings.shape[1]))
    for fold in range(FOLDS):
        for places in _parts(folds == fold):
            part = embeddings[places].astype(np.float64)
            np.add.at(sums[fold], labels[places], part)
            counts[fold] += np.bincount(labels[places], minlength=num_classes)
            squares[fold] += part.T @ part
    for fold in range(FOLDS):
        others = np.arange(FOLDS) != fold
        number, total = counts[others].sum(axis=0), sums[others].sum(axis=0)
        if not number.any():
            continue
        means = total / np.maximum(number, 1)[:, None]
        covariance = (squares[others].sum(axis=0) - means.T @ total) / number.sum()
        variance = max(float(np.trace(covariance)) / len(covariance), 1e-12)
        covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * variance * np.eye(len(covariance))
        weights = np.linalg.solve(covariance, means.T)
        with np.errstate(divide="ignore"):
            bias = np.log(number / number.sum()) - (means * weights.T).sum(axis=1) / 2
        for places in _parts(folds == fold):
            found[places] = softmax(embeddings[places].astype(np.float64) @ weights + bias)
    return found


def _parts(chosen: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    places = np.flatnonzero(chosen)
    return np.split(places, range(_AT_ONCE, len(places), _AT_ONCE))
