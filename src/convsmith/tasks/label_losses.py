"""Losses of several labels. Labels are how much each class is there [N, K], 0 to 1."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from convsmith.data.dataset import DataSet
from convsmith.errors import ConvsmithError
from convsmith.models.base import ImageClassifier
from convsmith.recipe import objective
from convsmith.tasks.losses import LossFunction, focused


def label_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    gammas: tuple[float, float] = (0.0, 0.0),
    clip: float = 0.0,
    positive: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Asymmetric loss (Ridnik et al. 2020, arXiv:2009.14119), the mean over all images and classes.

    With `gammas` 0 it is torch's `binary_cross_entropy_with_logits`; with two equal ones and `clip` 0 the focal loss of
    detection (Lin et al. 2017, arXiv:1708.02002), torchvision's `sigmoid_focal_loss` without alpha. The authors' code
    takes the sum where this takes the mean.

    Args:
        logits: [N, K].
        labels: [N, K].
        gammas: the powers of 1 - p where a class is there, and of p where it is not.
        clip: taken from p where a class is not there, down to 0.
        positive: multiplies the terms of classes that are there, [K], as torch's `pos_weight` does.
        weight: multiplies the terms of each class, [K].
    """
    there = focused(F.logsigmoid(logits), gammas[0])
    log_absent = ((-logits).sigmoid() + clip).clamp(max=1).log() if clip else F.logsigmoid(-logits)
    terms = labels * (there if positive is None else there * positive) + (1 - labels) * focused(log_absent, gammas[1])
    return -(terms if weight is None else terms * weight).mean()


def make_label_loss(spec: objective.Loss, weight: Tensor | None = None, positive: Tensor | None = None) -> LossFunction:
    """The loss of images that a recipe describes, with the weights [K] of its classes, and of where they are there."""
    assert isinstance(spec, objective.LabelLoss), f"{spec.name} is not a loss of several labels"
    gammas, clip = (0.0, 0.0), 0.0
    if isinstance(spec, objective.Asymmetric):
        gammas, clip = (spec.gamma_positive, spec.gamma_negative), spec.clip
    elif isinstance(spec, objective.Focal):
        gammas = (spec.gamma, spec.gamma)
    threshold = spec.threshold if isinstance(spec, objective.BinaryCrossEntropy) else None
    smoothing = spec.label_smoothing

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        labels = labels.to(logits.dtype) * (1 - smoothing) + smoothing / 2  # of the two answers to each question
        if threshold is not None:
            labels = (labels > threshold).to(labels.dtype)
        return label_loss(logits, labels, gammas=gammas, clip=clip, positive=positive, weight=weight)

    return loss


def check_positive_weights(loss: objective.Loss, model: ImageClassifier) -> None:
    """Raise a ConvsmithError if a recipe lists weights for another number of classes."""
    given = loss.positive_weights if isinstance(loss, objective.LabelLoss) else None
    if isinstance(given, tuple) and len(given) != model.num_classes:
        raise ConvsmithError(
            f"loss.positive_weights lists {len(given)} weights, but there are {model.num_classes} classes",
            fix="Give one for each class, in their order, or `counts`.",
        )


def positive_weights(
    loss: objective.Loss, data: DataSet, used: NDArray[np.int64], device: torch.device
) -> Tensor | None:
    """The factors [K] of classes that are there, on the device, or None where all are 1.

    Args:
        loss: the recipe's.
        data: what is trained on; where the weights come from counts, a class's is images without it by images with it.
        used: which samples of `data.train` are learned from.
        device: of the logits.
    """
    given = loss.positive_weights if isinstance(loss, objective.LabelLoss) else None
    if given is None:
        return None
    if isinstance(given, tuple):
        return torch.tensor(given, device=device)
    there = torch.from_numpy(data.count_classes(used)).float()
    return ((len(used) - there).clamp(min=1) / there.clamp(min=1)).to(device)
