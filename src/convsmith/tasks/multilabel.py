"""Training for several labels: each class is a question of its own, on mixed images, and perhaps with a teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.bundle.figures.multilabel_evaluation import MultilabelEvaluation
from convsmith.bundle.figures.multilabel_metrics import FIGURES, MultilabelResults
from convsmith.bundle.multilabel import probabilities_of
from convsmith.bundle.reference import Seen
from convsmith.bundle.runtime import Infer
from convsmith.data.dataset import DataSet
from convsmith.models.base import ImageClassifier
from convsmith.recipe.schema import Recipe
from convsmith.tasks.base import Objective, with_asked
from convsmith.tasks.distillation import Distiller, label_distance
from convsmith.tasks.image_objective import image_objective, require_classifier
from convsmith.tasks.label_losses import check_positive_weights, make_label_loss, positive_weights
from convsmith.tasks.losses import loss_weights
from convsmith.tasks.teacher import load_teacher


class JudgedLabels(MultilabelResults):
    """The answers of a model in training to validation images, at the thresholds that suit them best."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = Seen()

    def judge(self, infer: Infer, images: Tensor, targets: Tensor) -> None:
        """Take in the answers to images [N, 3, H, W] with classes [N, K]."""
        logits = infer(images.numpy())
        self.update(logits, targets.numpy())
        self._seen.add(images.numpy(), probabilities_of(logits).max(axis=1))

    def merge(self, other: MultilabelResults) -> None:
        """Add what another one saw."""
        super().merge(other)
        assert isinstance(other, JudgedLabels)
        self._seen.merge(other._seen)

    def compute(self) -> dict[str, float]:
        """The figures over all batches, at the best thresholds."""
        self.thresholds = self.best_thresholds() if self._targets else None
        return super().compute()

    def tuned(self) -> dict[str, Any]:
        """`thresholds`: the best ones; `reference`: the classes that reach them, which share an image evenly."""
        thresholds = self.best_thresholds()
        there = probabilities_of(self.logits) >= thresholds
        shares = there / np.maximum(1, there.sum(axis=1, keepdims=True))
        return {"thresholds": thresholds, **self._seen.keys(np.array([math.fsum(each) for each in shares.T]))}


class EvaluatedLabels(JudgedLabels, MultilabelEvaluation):
    """The same answers, for further figures.

    Args:
        asked: the names of the figures.
    """

    def __init__(self, asked: Sequence[str]) -> None:
        super().__init__()
        self._asked = asked

    def compute(self) -> dict[str, float]:
        """The usual figures at the best thresholds, and those that are asked for."""
        every = super().compute()
        return with_asked({name: every[name] for name in (*FIGURES, "loss")}, every, self._asked)


def check_model(recipe: Recipe, model: nn.Module) -> None:
    """Raise a ConvsmithError unless the model gives one vector of logits per image, with the weights for each."""
    check_positive_weights(recipe.loss, require_classifier(recipe, model))


def loss_bytes(recipe: Recipe, model: ImageClassifier) -> int:  # noqa: ARG001  # K numbers are as good as nothing
    """None worth counting."""
    return 0


def objective(
    recipe: Recipe, model: ImageClassifier, data: DataSet, used: NDArray[np.int64], device: torch.device
) -> Objective:
    """The loss of mixed images with classes [N, K], on logits [N, K]; what weighs is counted in the training images."""
    loss, distillation = recipe.loss, recipe.distillation
    weight = loss_weights(loss.class_weights, data, used, device)
    loss_of = make_label_loss(loss, weight, positive_weights(loss, data, used, device))
    distil = None
    if distillation:
        distil = Distiller(distillation, load_teacher(recipe, device, data.classes), model, label_distance)
    return image_objective(recipe, loss_of, distil)


def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits [N, K] of normalised images [N, C, H, W]."""
    answer: Tensor = model(images)
    return answer


def new_results(recipe: Recipe, num_classes: int) -> JudgedLabels:  # noqa: ARG001  # any number
    """An empty collection for one evaluation."""
    return EvaluatedLabels(recipe.metrics) if recipe.metrics else JudgedLabels()
