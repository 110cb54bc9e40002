"""Training of classifiers: a recipe's loss on mixed images, and where there is a teacher the distance from it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.bundle.classification_metrics import ClassificationResults
from convsmith.bundle.runtime import Infer
from convsmith.data.dataset import DataSet
from convsmith.errors import ConvsmithError
from convsmith.models.base import ImageClassifier
from convsmith.recipe.schedules import total_epochs
from convsmith.recipe.schema import Recipe
from convsmith.tasks.base import Objective
from convsmith.tasks.distillation import Distiller
from convsmith.tasks.losses import as_shares, check_class_weights, loss_weights, make_loss
from convsmith.tasks.mixing import draw_mix
from convsmith.tasks.teacher import load_teacher


class JudgedImages(ClassificationResults):
    """The answers of a model in training to validation images."""

    def judge(self, infer: Infer, images: Tensor, targets: Tensor) -> None:
        """Take in the answers to images [N, 3, H, W] of classes [N]."""
        self.update(infer(images.numpy()), targets.numpy())


def check_model(recipe: Recipe, model: nn.Module) -> None:
    """Raise a ConvsmithError unless the model gives one vector of logits per image, with a weight for each."""
    if not isinstance(model, ImageClassifier):
        raise ConvsmithError(
            "classification cannot train this model",
            f"{type(model).__name__} gives logits for each pixel, not for each image",
            "Choose another model.name; `convsmith models` lists them.",
        )
    check_class_weights(recipe.loss.class_weights, model.num_classes)


def loss_bytes(recipe: Recipe, model: ImageClassifier) -> int:  # noqa: ARG001  # K numbers are as good as nothing
    """None worth counting."""
    return 0


def objective(
    recipe: Recipe, model: ImageClassifier, data: DataSet, used: NDArray[np.int64], device: torch.device
) -> Objective:
    """The loss of mixed images of classes [N], on logits [N, K]; the classes weigh by their training images."""
    mixing, distillation = recipe.mixing, recipe.distillation
    mixed_epochs = total_epochs(recipe.schedule) - mixing.off_epochs if mixing else 0
    loss_of = make_loss(recipe.loss, loss_weights(recipe.loss.class_weights, data, used, device))
    distil = Distiller(distillation, load_teacher(recipe, device, data.classes), model) if distillation else None
    alpha = distillation.alpha if distillation else 0.0

    def training_loss(model: nn.Module, images: Tensor, targets: Tensor, epoch: int) -> Tensor:
        mix = draw_mix(mixing, images) if mixing and epoch < mixed_epochs else None
        if mix:
            images = mix.images(images)
        logits, distance = distil(model, images) if distil else (model(images), None)
        with torch.autocast(images.device.type, enabled=False):
            logits = logits.float()
            loss = loss_of(logits, mix.labels(as_shares(targets, logits)) if mix else targets)
            return loss if distance is None else (1 - alpha) * loss + alpha * distance

    return training_loss


def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits [N, K] of normalised images [N, C, H, W]."""
    answer: Tensor = model(images)
    return answer


def new_results(recipe: Recipe, num_classes: int) -> JudgedImages:  # noqa: ARG001  # neither matters
    """An empty collection for one evaluation."""
    return JudgedImages()
