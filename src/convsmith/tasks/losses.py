"""Losses of classifiers. Labels are class indices [N], or how much each class is right [N, K], 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from convsmith.data.dataset import DataSet
from convsmith.errors import ConvsmithError
from convsmith.recipe import objective
from convsmith.recipe.rarity import Rarity, rarity

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""From logits [N, K] and labels to a scalar."""


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with the softmax of the logits.

    With weights it is the weighted mean of torch's `cross_entropy`, whatever form the labels have: for labels [N, K]
    torch itself would divide by N. Smoothing (Szegedy et al. 2015, arXiv:1512.00567) and mixing of labels commute, so
    this is also the loss of timm, of torchvision and of both versions of ResNeSt on smoothed and mixed labels.

    Args:
        logits: [N, K].
        labels: [N] or, with rows that sum to 1, [N, K].
        weight: of each class, [K].
        smoothing: probability spread evenly over all classes.
    """
    if labels.ndim == 1:
        return F.cross_entropy(logits, labels, weight, label_smoothing=smoothing)
    total = F.cross_entropy(logits, labels.to(logits.dtype), weight, reduction="sum", label_smoothing=smoothing)
    return total / _mass(labels, weight)


def focal(
    logits: Tensor, labels: Tensor, gamma: float = 2.0, weight: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy whose term of each class is multiplied by (1 - p)^gamma (Lin et al. 2017, arXiv:1708.02002).

    p is the softmax of the logits; `gamma` 0 gives `cross_entropy`, whose arguments the others are.
    """
    labels = as_shares(labels, logits)
    terms = -smoothed(labels, smoothing) * focused(logits.log_softmax(1), gamma)
    return (terms if weight is None else terms * weight).sum() / _mass(labels, weight)


def binary_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor | None = None,
    smoothing: float = 0.0,
    threshold: float | None = None,
) -> Tensor:
    """The mean over all images and classes of the cross-entropy with the sigmoid of the logit.

    As in timm's `BinaryCrossEntropy` (Wightman et al. 2021, arXiv:2110.00476).

    Args:
        logits: [N, K].
        labels: [N] or [N, K]; several classes of an image may be right.
        weight: multiplies the terms of each class, [K], as torch's `weight` does.
        smoothing: probability spread evenly over all classes.
        threshold: labels above it, once they are smoothed, count as 1, others as 0.
    """
    labels = smoothed(as_shares(labels, logits), smoothing)
    if threshold is not None:
        labels = (labels > threshold).to(labels.dtype)
    return F.binary_cross_entropy_with_logits(logits, labels, weight)


def make_loss(spec: objective.Loss, weight: Tensor | None = None) -> LossFunction:
    """The loss of images that a recipe describes, with the weights [K] of its classes."""
    if isinstance(spec, objective.BinaryCrossEntropy):
        return partial(binary_cross_entropy, weight=weight, smoothing=spec.label_smoothing, threshold=spec.threshold)
    if isinstance(spec, objective.Focal):
        return partial(focal, gamma=spec.gamma, weight=weight, smoothing=spec.label_smoothing)
    assert isinstance(spec, objective.CrossEntropy), f"{spec.name} is a loss of pixels"
    return partial(cross_entropy, weight=weight, smoothing=spec.label_smoothing)


def check_class_weights(given: objective.ClassWeights | None, num_classes: int) -> None:
    """Raise a ConvsmithError if a recipe lists weights for another number of classes."""
    if isinstance(given, tuple) and len(given) != num_classes:
        raise ConvsmithError(
            f"loss.class_weights lists {len(given)} weights, but there are {num_classes} classes",
            fix="Give one for each class, in their order, or `inverse`, `sqrt` or `effective_number`.",
        )


def loss_weights(
    given: objective.ClassWeights | None, data: DataSet, used: NDArray[np.int64], device: torch.device
) -> Tensor | None:
    """The weights [K] of the classes in a loss, on the device, or None where all count alike.

    Args:
        given: the recipe's key.
        data: what is trained on; it counts the classes where their weights come from that.
        used: which samples of `data.train` are learned from.
        device: of the logits.
    """
    if given is None:
        return None
    weight = (
        torch.tensor(given) if isinstance(given, tuple) else class_weights(given, data.count_classes(used).tolist())
    )
    return weight.to(device)


def class_weights(kind: Rarity, counts: Sequence[int]) -> Tensor:
    """Weights [K] of classes that have `counts` images, as `rarity` gives them, with a mean of 1 over the images."""
    images = np.asarray(counts)
    weight = rarity(kind, images)
    return torch.from_numpy(weight * images.sum() / (weight * images).sum()).float()


def focused(log_p: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma log(p) of logarithms of probabilities, of any shape: the terms of `focal`."""
    rest = (-log_p.expm1()).clamp(min=torch.finfo(log_p.dtype).tiny)  # the gradient of 0 ** gamma is not finite
    return rest**gamma * log_p


def as_shares(labels: Tensor, logits: Tensor) -> Tensor:
    """Labels as [N, K] in the type of the logits [N, K]."""
    if labels.ndim == 1:
        labels = F.one_hot(labels, logits.shape[1])
    return labels.to(logits.dtype)


def smoothed(labels: Tensor, smoothing: float) -> Tensor:
    """Labels [N, K] that give a share of `smoothing` to all K classes alike."""
    return labels * (1 - smoothing) + smoothing / labels.shape[1]


def _mass(labels: Tensor, weight: Tensor | None) -> Tensor | int:
    """The divisor of a weighted mean over labels [N, K]."""
    return len(labels) if weight is None else (labels * weight).sum()
