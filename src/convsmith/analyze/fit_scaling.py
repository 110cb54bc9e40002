"""Scaling of logits fitted to what is true, by Newton's method. Needs no torch.

What is minimised is the mean negative log-likelihood of the true classes, as in Guo et al. 2017 (arXiv:1706.04599):
with the softmax where classes exclude each other, with the sigmoid of each class where they do not (there vector
scaling is Platt's, class by class).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.classification import log_softmax, softmax
from convsmith.bundle.multilabel import log_sigmoid, probabilities_of
from convsmith.errors import ConvsmithError

Logits = NDArray[np.float64]
Truth = NDArray[np.bool_]

_STEPS = 100
_CLOSE = 1e-12  # part that a step changes, or gains for each row: the one after it is beyond float64
_SMALLEST = 2.0**-30  # part of a step that is tried


class Scaling(NamedTuple):
    """Numbers that logits are multiplied with, and what is added.

    Attributes:
        weights: one, or one for each class.
        bias: of each class; None: nothing.
    """

    weights: tuple[float, ...] = (1.0,)
    bias: tuple[float, ...] | None = None


def probabilities(logits: NDArray[np.floating], exclusive: bool) -> Logits:
    """Probabilities [N, K] of logits [N, K]: of each row together, or of each by itself."""
    return softmax(logits) if exclusive else probabilities_of(logits)


def log_loss(logits: NDArray[np.floating], truth: Truth, exclusive: bool) -> float:
    """The mean negative log-likelihood of what is true, over rows, or over all pairs of row and class."""
    likelihoods = log_softmax(logits)[truth] if exclusive else log_sigmoid(np.where(truth, logits, -logits))
    return -float(likelihoods.mean())


def fit_temperature(logits: Logits, truth: Truth, exclusive: bool) -> float | None:
    """The number that logits are best multiplied with, which is 1 / temperature.

    None where all rows are right: then any larger number is better, and there is no best one.

    Args:
        logits: [N, K].
        truth: which classes are true, [N, K]; one of each row where they exclude each other.
        exclusive: whether they do.

    Raises:
        ConvsmithError: chance is right as often, so that the best number is 0 or below.
    """
    if exclusive:
        true = logits[truth]
        is_right = bool((true >= logits.max(axis=1)).all())
        slope = float((logits.mean(axis=1) - true).mean())
    else:
        is_right = bool(((logits >= 0) | ~truth).all() and ((logits <= 0) | truth).all())
        slope = float(((0.5 - truth) * logits).mean())
    if slope >= 0:
        raise ConvsmithError(
            "the bundle cannot be calibrated",
            "its logits say no more of these images than chance does",
            "Look whether the folders of the data are named as the bundle's labels.",
        )
    if is_right:
        return None
    low, high, factor = 0.0, np.inf, 1.0
    for _ in range(_STEPS):
        first, second = _derivatives(factor, logits, truth, exclusive)
        low, high = (low, factor) if first > 0 else (factor, high)
        following = factor - first / second if second > 0 else np.inf
        if not low < following < high:  # convex, so the best is in between
            following = 2 * factor if high == np.inf else (low + high) / 2
        is_close, factor = abs(following - factor) <= _CLOSE * factor, following
        if is_close:
            break
    return float(factor)


def _derivatives(factor: float, logits: Logits, truth: Truth, exclusive: bool) -> tuple[float, float]:
    """First and second derivative of the loss by the factor."""
    p = probabilities(logits * factor, exclusive)
    if not exclusive:
        return float(((p - truth) * logits).mean()), float((p * (1 - p) * logits**2).mean())
    mean = (p * logits).sum(axis=1)
    return float((mean - logits[truth]).mean()), float(((p * logits**2).sum(axis=1) - mean**2).mean())


def fit_vector(logits: Logits, truth: Truth, exclusive: bool, factor: float) -> Scaling:
    """The best weights and summands of each class.

    How far they are from the `factor` of temperature scaling and from 0 counts as one row more that is unlikely by a
    standard normal distribution of `weight / factor` around 1, and of the summand around 0: without it classes with few
    images would have no best numbers.

    Args:
        logits, truth, exclusive: as `fit_temperature` takes them.
        factor: what that found.
    """
    x = logits * factor
    classes = logits.shape[1]
    found = np.concatenate([np.ones(classes), np.zeros(classes)])
    for _ in range(_STEPS):
        gradient, step = (_joint_step if exclusive else _separate_steps)(x, truth, found)
        before, part = _penalised(x, truth, found, exclusive), 1.0
        while _penalised(x, truth, found - part * step, exclusive) > before and part > _SMALLEST:
            part /= 2
        found = found - part * step
        if gradient @ step < _CLOSE * len(x):
            break
    weights, bias = found[:classes] * factor, found[classes:]
    if not exclusive:
        turned = weights <= 0  # a class whose logit says the opposite: its threshold would be turned around
        weights[turned], bias[turned] = factor, 0.0
    return Scaling(tuple(weights.tolist()), tuple(bias.tolist()))


def _penalised(x: Logits, truth: Truth, found: Logits, exclusive: bool) -> float:
    """The sum over rows, and over classes that do not exclude each other, with what is unlikely of the numbers."""
    classes = x.shape[1]
    scaled = x * found[:classes] + found[classes:]
    count = len(x) if exclusive else x.size
    unlikely = float(((found[:classes] - 1) ** 2).sum() + (found[classes:] ** 2).sum()) / 2
    return log_loss(scaled, truth, exclusive) * count + unlikely


def _joint_step(x: Logits, truth: Truth, found: Logits) -> tuple[Logits, Logits]:
    """The gradient of `_penalised` and Newton's step for the softmax: all numbers depend on each other."""
    classes = x.shape[1]
    weights, bias = found[:classes], found[classes:]
    p = probabilities(x * weights + bias, exclusive=True)
    px, error = p * x, p - truth
    gradient = np.concatenate([(error * x).sum(axis=0) + weights - 1, error.sum(axis=0) + bias])
    across = np.diag(px.sum(axis=0)) - px.T @ p
    curvature = np.block(
        [
            [np.diag((px * x).sum(axis=0)) - px.T @ px, across],
            [across.T, np.diag(p.sum(axis=0)) - p.T @ p],
        ]
    )
    return gradient, np.linalg.solve(curvature + np.eye(2 * classes), gradient)


def _separate_steps(x: Logits, truth: Truth, found: Logits) -> tuple[Logits, Logits]:
    """The same for the sigmoid: two numbers of each class depend on each other."""
    classes = x.shape[1]
    weights, bias = found[:classes], found[classes:]
    p = probabilities_of(x * weights + bias)
    error, certain = p - truth, p * (1 - p)
    by_weight, by_bias = (error * x).sum(axis=0) + weights - 1, error.sum(axis=0) + bias
    a, b, c = (certain * x**2).sum(axis=0) + 1, (certain * x).sum(axis=0), certain.sum(axis=0) + 1
    determinant = a * c - b**2
    step = np.concatenate([(c * by_weight - b * by_bias) / determinant, (a * by_bias - b * by_weight) / determinant])
    return np.concatenate([by_weight, by_bias]), step
