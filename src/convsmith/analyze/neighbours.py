"""Which embeddings lie nearest, and what a simple classifier makes of them. Needs no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.distance import unit

_BLOCK = 2**11  # embeddings that are compared at a time,
_QUERIES = 2**11  # with so many others: their similarities take 16 MiB
_RIDGE = 1.0  # penalty of the probe, in squares of standardised numbers


def nearest(embeddings: NDArray[Any], query: NDArray[Any], k: int = 5) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k embeddings with the smallest angle to each query, the nearest first, and their cosines.

    It is exact; of equal ones the first comes first. Memory is that of some blocks, however many embeddings there are.

    Args:
        embeddings: [N, D].
        query: [Q, D].
        k: at least 1; where there are fewer embeddings, all are given.

    Returns:
        Row numbers [Q, k] and cosines [Q, k], -1 to 1; 0 where a row is 0.
    """
    k = min(k, len(embeddings))
    numbers, cosines = np.empty((len(query), k), np.int64), np.empty((len(query), k), np.float32)
    for first in range(0, len(query), _QUERIES):
        asked = unit(query[first : first + _QUERIES])
        best, where = np.full((len(asked), k), -np.inf, np.float32), np.zeros((len(asked), k), np.int64)
        for start in range(0, len(embeddings), _BLOCK):
            found, columns = _above(asked @ unit(embeddings[start : start + _BLOCK]).T, best[:, -1:])
            best, where = np.concatenate([best, found], axis=1), np.concatenate([where, columns + start], axis=1)
            order = np.argsort(-best, axis=1, kind="stable")[:, :k]
            best, where = np.take_along_axis(best, order, 1), np.take_along_axis(where, order, 1)
        numbers[first : first + len(asked)], cosines[first : first + len(asked)] = where, best
    return numbers, cosines


def knn_predict(
    embeddings: NDArray[Any], targets: NDArray[np.int64], query: NDArray[Any], k: int = 20
) -> NDArray[np.int64]:
    """The class that most of the k nearest embeddings have, [Q]; of equal ones the lower class.

    Args:
        embeddings, query, k: as in `nearest`.
        targets: the class of each embedding, [N].
    """
    near = targets[nearest(embeddings, query, k)[0]]
    classes = int(targets.max()) + 1
    votes = np.zeros((len(query), classes), np.int64)
    np.add.at(votes, (np.arange(len(query))[:, None], near), 1)
    named: NDArray[np.int64] = votes.argmax(axis=1)
    return named


def linear_probe(embeddings: NDArray[Any], targets: NDArray[np.int64], query: NDArray[Any]) -> NDArray[np.int64]:
    """The class that a linear layer on standardised embeddings names, [Q], which least squares fits at once.

    It is ridge regression to 1 for the class and -1 for the others, as scikit-learn's `RidgeClassifier` after its
    `StandardScaler`: a solution in closed form, which has nothing to tune and takes seconds.

    Args:
        embeddings: [N, D] to learn from.
        targets: the class of each, [N].
        query: [Q, D].
    """
    mean, spread = embeddings.mean(axis=0, dtype=np.float64), embeddings.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0, spread, 1.0)
    classes = int(targets.max()) + 1
    products, sums, wanted = np.zeros((len(mean), len(mean))), np.zeros((len(mean), classes)), np.zeros(classes)
    for start in range(0, len(embeddings), _BLOCK):
        rows = (embeddings[start : start + _BLOCK] - mean) / scale
        truth = np.where(targets[start : start + _BLOCK, None] == np.arange(classes), 1.0, -1.0)
        products += rows.T @ rows
        sums += rows.T @ truth
        wanted += truth.sum(axis=0)
    weights = np.linalg.solve(products + _RIDGE * np.eye(len(mean)), sums)  # rows have the mean 0, so the bias is alone
    scores = (query - mean) / scale @ weights + wanted / len(embeddings)
    named: NDArray[np.int64] = scores.argmax(axis=1)
    return named


def _above(values: NDArray[np.float32], least: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The values [Q, M] above the least [Q, 1] that counts, and their columns; rows are filled up with -inf.

    Few are, once some blocks have been seen, so that sorting what is left costs little.
    """
    rows, columns = np.nonzero(values > least)
    counts = np.bincount(rows, minlength=len(values))
    places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.full((len(values), counts.max()), -np.inf, np.float32)
    where = np.zeros(found.shape, np.int64)
    found[rows, places], where[rows, places] = values[rows, columns], columns
    return found, where
