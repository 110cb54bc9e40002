"""Classification: one label per image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.bundle.classification_metrics import ClassificationResults
from convsmith.data.dataset import DataSet
from convsmith.errors import ConvsmithError
from convsmith.models.base import ImageClassifier
from convsmith.recipe.schedules import total_epochs
from convsmith.recipe.schema import Recipe
from convsmith.tasks.base import Run
from convsmith.tasks.distillation import Distiller
from convsmith.tasks.losses import LossFunction, as_shares, class_weights, make_loss
from convsmith.tasks.mixing import draw_mix
from convsmith.tasks.teacher import load_teacher


class JudgedImages(ClassificationResults):
    """What a model in training answers on validation images."""

    def judge(self, run: Run, images: Tensor, targets: Tensor) -> None:
        """Take in the answers to images [N, 3, H, W] of classes [N]."""
        self.update(run(images), targets.numpy())


class Classification:
    """A recipe's loss on mixed images, and where there is a teacher its distance; judged by the recipe's metric."""

    one_size = True

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self.metric: str = recipe.metric
        self._loss: LossFunction | None = None
        self._distiller: Distiller | None = None
        self._mixed_epochs = total_epochs(recipe.schedule) - recipe.mixing.off_epochs if recipe.mixing else 0

    def check_model(self, model: nn.Module) -> None:
        """Raise a ConvsmithError unless the model gives one vector of logits per image, with a weight for each."""
        if not isinstance(model, ImageClassifier):
            raise ConvsmithError(
                "classification cannot train this model",
                f"{type(model).__name__} gives logits for each pixel, not for each image",
                "Choose another model.name; `convsmith models` lists them.",
            )
        given = self._recipe.loss.class_weights
        if isinstance(given, tuple) and len(given) != model.num_classes:
            raise ConvsmithError(
                f"loss.class_weights lists {len(given)} weights, but there are {model.num_classes} classes",
                fix="Give one for each class, in the order of their names, or `inverse`, `sqrt` or `effective_number`.",
            )

    def loss_bytes(self, model: nn.Module) -> int:  # noqa: ARG002  # K numbers are as good as nothing
        """None worth counting."""
        return 0

    def start(self, device: torch.device, data: DataSet, used: NDArray[np.int64]) -> None:
        """Load the teacher and weigh the classes by their training images."""
        recipe, given = self._recipe, self._recipe.loss.class_weights
        if given is None:
            self._loss = make_loss(recipe.loss)
        else:
            counts = np.bincount(data.train.targets[used], minlength=len(data.classes))
            weight = torch.tensor(given) if isinstance(given, tuple) else class_weights(given, counts.tolist())
            self._loss = make_loss(recipe.loss, weight.to(device))
        if recipe.distillation:
            self._distiller = Distiller(recipe.distillation, load_teacher(recipe, device, data.classes))

    def training_loss(self, model: nn.Module, images: Tensor, targets: Tensor, epoch: int) -> Tensor:
        """The scalar loss of a batch, in float32; what is random is drawn from torch's CPU generator.

        Args:
            model: gives logits [N, K].
            images: normalised floats [N, C, H, W].
            targets: class indices [N].
            epoch: of the run, from 0.
        """
        assert self._loss is not None, "start() comes before the first step"
        mixing, distillation = self._recipe.mixing, self._recipe.distillation
        mix = draw_mix(mixing, images) if mixing and epoch < self._mixed_epochs else None
        if mix:
            images = mix.images(images)
        if distillation:
            assert self._distiller is not None
            logits, distance = self._distiller(model, images)
        else:
            logits = model(images)
        with torch.autocast(images.device.type, enabled=False):
            logits = logits.float()
            loss = self._loss(logits, mix.labels(as_shares(targets, logits)) if mix else targets)
            return (1 - distillation.alpha) * loss + distillation.alpha * distance if distillation else loss

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """Logits [N, K] of normalised images [N, C, H, W]."""
        logits: Tensor = model(images)
        return logits

    def new_results(self, data: DataSet) -> JudgedImages:  # noqa: ARG002  # the number of classes does not matter
        """An empty collection for one evaluation."""
        return JudgedImages()


TASK = Classification
