"""Semantic segmentation: one class per pixel."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.bundle.segment import argmax_classes, scored_parts
from convsmith.bundle.segmentation_metrics import SegmentationResults
from convsmith.data.dataset import DataSet
from convsmith.data.mask_data import MaskData
from convsmith.errors import ConvsmithError, counted
from convsmith.models.base import SegmentationModel
from convsmith.recipe.objective import PixelLoss
from convsmith.recipe.schema import Recipe
from convsmith.spec import IGNORED, WholeImage
from convsmith.tasks.base import Run
from convsmith.tasks.distillation import TeacherFunction, pixel_distance
from convsmith.tasks.losses import class_weights
from convsmith.tasks.segmentation_losses import SegmentationLoss, make_segmentation_loss
from convsmith.tasks.teacher import load_teacher


class JudgedMasks(SegmentationResults):
    """What a model in training answers on validation images.

    Args:
        num_classes: K.
        spec: how an image is looked at.
    """

    def __init__(self, num_classes: int, spec: WholeImage) -> None:
        super().__init__(num_classes)
        self._spec = spec
        self._losses: list[float] = []

    def judge(self, run: Run, images: Tensor, targets: Tensor) -> None:
        """Take in the answers to images [N, 3, H, W] with masks [N, H, W]."""

        def answers(seen: NDArray[Any]) -> NDArray[np.float32]:
            return run(torch.from_numpy(seen))

        for image, mask in zip(images.permute(0, 2, 3, 1).numpy(), targets.numpy(), strict=True):
            name = f"a validation image of {image.shape[1]} x {image.shape[0]} pixels"
            answer = np.empty_like(mask)
            loss = 0.0
            for part in scored_parts(image, self._spec, answers, len(self.confusion), name=name):
                planes, place = list(part.planes), (part.rows, part.columns)
                answer[place] = argmax_classes(planes)
                loss += _cross_entropy(planes, part.are_logits, mask[place])
            self.update(answer, mask)
            self._losses.append(loss)

    def merge(self, other: SegmentationResults) -> None:
        """Add the counts and the losses of another one."""
        super().merge(other)
        assert isinstance(other, JudgedMasks)
        self._losses += other._losses

    def compute(self) -> dict[str, float]:
        """The figures over all images; `loss` is the mean over the pixels that count."""
        # exactly rounded, so it does not depend on the order in which several processes judged
        return {"loss": math.fsum(self._losses) / max(int(self.pixels.sum()), 1), **super().compute()}


def _cross_entropy(planes: list[NDArray[np.float32]], are_logits: bool, mask: NDArray[np.uint8]) -> float:
    """Minus the logarithm of the share of each pixel's own class, summed over the pixels [h, w] that count."""
    highest = reduce(np.maximum, planes) if are_logits else None
    total, own = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.float32)
    for class_id, plane in enumerate(planes):
        powers = plane if highest is None else np.exp(plane - highest)
        total += powers
        right = mask == class_id
        own[right] = plane[right] if highest is None else (plane - highest)[right]
    if highest is None:
        own = np.log(np.maximum(own, np.finfo(np.float32).tiny))
    counts = mask != IGNORED
    return float((np.log(total[counts]) - own[counts]).sum(dtype=np.float64))


class Segmentation:
    """A recipe's loss of pixels; judged by the recipe's metric at the images' own size."""

    one_size = False

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self.metric: str = recipe.metric
        self._weight: Tensor | None = None
        self._loss: SegmentationLoss | None = None
        self._teacher: TeacherFunction | None = None

    def check_model(self, model: nn.Module) -> None:
        """Raise a ConvsmithError unless the model gives logits for each pixel, as many outputs as the loss weighs."""
        if not isinstance(model, SegmentationModel):
            raise ConvsmithError(
                "segmentation cannot train this model",
                f"{type(model).__name__} gives logits for each image, not for each pixel",
                "Choose another model.name; `convsmith models` lists them with their task.",
            )
        assert isinstance(self._recipe.preprocess, WholeImage)
        try:
            self._recipe.preprocess.check_classes(model.num_classes)
        except ValueError as error:
            raise ConvsmithError(f"preprocess.{error}", fix="Name classes by their numbers.") from error
        loss = self._recipe.loss
        if isinstance(loss.class_weights, tuple) and len(loss.class_weights) != model.num_classes:
            raise ConvsmithError(
                f"loss.class_weights lists {len(loss.class_weights)}, but there are {model.num_classes} classes",
                fix="Give one for each class, in their order, or `inverse`, `sqrt` or `effective_number`.",
            )
        assert isinstance(loss, PixelLoss)  # the recipe's validator holds it
        for key in ("output_weights", "align_corners"):
            listed = getattr(loss, key)
            if isinstance(listed, tuple) and len(listed) != len(model.heads):
                outputs = counted(len(model.heads), "output")
                raise ConvsmithError(
                    f"loss.{key} lists {counted(len(listed), 'value')}, but the model has {outputs}",
                    fix="Give one for each, the prediction last, or null.",
                )

    def loss_bytes(self, model: nn.Module) -> int:
        """Logits at the mask's size, their logarithms and their gradient in float32, for each output of the model."""
        assert isinstance(model, SegmentationModel)
        height, width = self._recipe.augment.mask_size
        return 3 * 4 * len(model.heads) * model.num_classes * height * width

    def start(self, device: torch.device, data: DataSet, used: NDArray[np.int64]) -> None:
        """Load the teacher, and weigh the classes, where the recipe does so by their pixels in training masks."""
        given = self._recipe.loss.class_weights
        if isinstance(given, tuple):
            self._weight = torch.tensor(given, device=device)
        elif given is not None:
            assert isinstance(data, MaskData)
            self._weight = class_weights(given, data.count_pixels(used).tolist()).to(device)
        if self._recipe.distillation:
            self._teacher = load_teacher(self._recipe, device, data.classes)

    def training_loss(self, model: nn.Module, images: Tensor, targets: Tensor, epoch: int) -> Tensor:  # noqa: ARG002
        """The scalar loss of a batch, in float32.

        Args:
            model: gives logits [N, K, h, w], or several of them.
            images: normalised floats [N, C, H, W].
            targets: masks [N, H, W].
            epoch: of the run; nothing here changes with it.
        """
        if self._loss is None:
            inner = next(module for module in model.modules() if isinstance(module, SegmentationModel))
            self._loss = make_segmentation_loss(self._recipe.loss, self._weight, inner.align_corners)
        outputs = model(images)
        wanted = self._teacher(images) if self._teacher else None
        with torch.autocast(images.device.type, enabled=False):
            outputs = [outputs] if isinstance(outputs, Tensor) else outputs
            outputs = [output.float() for output in outputs]
            loss, distillation = self._loss(outputs, targets), self._recipe.distillation
            if distillation is None:
                return loss
            assert wanted is not None, "start() comes before the first step"
            distance = pixel_distance(distillation, outputs[-1], wanted.float(), targets)
            return (1 - distillation.alpha) * loss + distillation.alpha * distance

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """Logits [N, K, H, W] of normalised images [N, C, H, W]."""
        assert isinstance(model, SegmentationModel)
        return model.segment(images)

    def new_results(self, data: DataSet) -> JudgedMasks:
        """An empty collection for one evaluation."""
        assert isinstance(self._recipe.preprocess, WholeImage)
        return JudgedMasks(len(data.classes), self._recipe.preprocess)


TASK = Segmentation
