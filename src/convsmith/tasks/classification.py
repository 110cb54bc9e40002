"""Training of classifiers: a recipe's loss on mixed images, and where there is a teacher the distance from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.bundle.classification import softmax
from convsmith.bundle.figures.classification_evaluation import ClassificationEvaluation
from convsmith.bundle.figures.classification_metrics import ClassificationResults
from convsmith.bundle.reference import Seen
from convsmith.bundle.runtime import Infer
from convsmith.data.dataset import DataSet
from convsmith.models.base import ImageClassifier
from convsmith.recipe.schema import Recipe
from convsmith.tasks.base import Objective, with_asked
from convsmith.tasks.distillation import Distiller
from convsmith.tasks.image_objective import image_objective, require_classifier
from convsmith.tasks.losses import loss_weights, make_loss
from convsmith.tasks.teacher import load_teacher


class JudgedImages(ClassificationResults):
    """The answers of a model in training to validation images."""

    def __init__(self) -> None:
        super().__init__()
        self._seen, self._known_classes = Seen(), 0

    def judge(self, infer: Infer, images: Tensor, targets: Tensor) -> None:
        """Take in the answers to images [N, 3, H, W] of classes [N]."""
        logits = infer(images.numpy())
        self.update(logits, targets.numpy())
        self._known_classes = logits.shape[1]
        self._seen.add(images.numpy(), softmax(logits).max(axis=1))

    def merge(self, other: Self) -> None:
        """Add what another one saw."""
        super().merge(other)
        self._seen.merge(other._seen)
        self._known_classes = max(self._known_classes, other._known_classes)

    def tuned(self) -> dict[str, Any]:
        """`reference`: the classes that were said, each by the highest logit."""
        return self._seen.keys(np.bincount(self.predictions, minlength=self._known_classes))


class EvaluatedImages(JudgedImages, ClassificationEvaluation):
    """The same answers with their probabilities, for further figures.

    Args:
        asked: the names of the figures.
    """

    def __init__(self, asked: Sequence[str]) -> None:
        super().__init__()
        self._asked = asked

    def compute(self) -> dict[str, float]:
        """The usual figures, and those that are asked for."""
        return with_asked(ClassificationResults.compute(self), super().compute(), self._asked)


def check_model(recipe: Recipe, model: nn.Module) -> None:
    """Raise a ConvsmithError unless the model gives one vector of logits per image, with a weight for each."""
    require_classifier(recipe, model)


def loss_bytes(recipe: Recipe, model: ImageClassifier) -> int:  # noqa: ARG001  # K numbers are as good as nothing
    """None worth counting."""
    return 0


def objective(
    recipe: Recipe, model: ImageClassifier, data: DataSet, used: NDArray[np.int64], device: torch.device
) -> Objective:
    """The loss of mixed images of classes [N], on logits [N, K]; the classes weigh by their training images."""
    distillation = recipe.distillation
    loss_of = make_loss(recipe.loss, loss_weights(recipe.loss.class_weights, data, used, device))
    distil = Distiller(distillation, load_teacher(recipe, device, data.classes), model) if distillation else None
    return image_objective(recipe, loss_of, distil)


def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits [N, K] of normalised images [N, C, H, W]."""
    answer: Tensor = model(images)
    return answer


def new_results(recipe: Recipe, num_classes: int) -> JudgedImages:  # noqa: ARG001  # any number
    """An empty collection for one evaluation."""
    return EvaluatedImages(recipe.metrics) if recipe.metrics else JudgedImages()
