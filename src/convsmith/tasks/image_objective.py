"""The part that tasks have in common whose models give one vector of logits per image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convsmith.errors import ConvsmithError
from convsmith.models.base import ImageClassifier
from convsmith.recipe.schedules import total_epochs
from convsmith.recipe.schema import Recipe
from convsmith.tasks.base import Objective
from convsmith.tasks.distillation import Distiller
from convsmith.tasks.losses import LossFunction, as_shares, check_class_weights
from convsmith.tasks.mixing import draw_mix


def require_classifier(recipe: Recipe, model: nn.Module) -> ImageClassifier:
    """The model, or a ConvsmithError unless it gives one vector of logits per image, with a weight for each."""
    if not isinstance(model, ImageClassifier):
        raise ConvsmithError(
            f"{recipe.task} cannot train this model",
            f"{type(model).__name__} gives logits for each pixel, not for each image",
            "Choose another model.name; `convsmith models` lists them.",
        )
    check_class_weights(recipe.loss.class_weights, model.num_classes)
    return model


def image_objective(recipe: Recipe, loss_of: LossFunction, distil: Distiller | None) -> Objective:
    """The loss of images that are mixed with their labels, and where there is a teacher the distance from it.

    Args:
        recipe: says how they are mixed, and how much a teacher counts.
        loss_of: of logits [N, K] and labels, which are as the loader gave them, or [N, K] where they are mixed.
        distil: runs student and teacher.
    """
    mixing = recipe.mixing
    mixed_epochs = total_epochs(recipe.schedule) - mixing.off_epochs if mixing else 0
    alpha = recipe.distillation.alpha if recipe.distillation else 0.0

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
