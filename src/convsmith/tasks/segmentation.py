"""Training of models that say a class for each pixel: a recipe's loss of pixels, judged at the images' own size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.bundle.figures.segmentation_evaluation import SegmentationEvaluation
from convsmith.bundle.reference import Seen
from convsmith.bundle.runtime import Infer
from convsmith.bundle.segment import argmax_classes, scored_parts
from convsmith.data.dataset import DataSet
from convsmith.errors import ConvsmithError
from convsmith.models.base import SegmentationModel
from convsmith.recipe.schema import Recipe
from convsmith.recipe.tasks.segmentation import METRICS
from convsmith.spec import IGNORED, WholeImage, whole_image
from convsmith.tasks.base import Objective, with_asked
from convsmith.tasks.distillation import pixel_distance
from convsmith.tasks.losses import check_class_weights, loss_weights
from convsmith.tasks.segmentation_losses import check_outputs, make_segmentation_loss
from convsmith.tasks.teacher import load_teacher


class JudgedMasks(SegmentationEvaluation):
    """The answers of a model in training to validation images.

    Args:
        num_classes: K.
        spec: how an image is looked at.
        asked: the names of further figures of an evaluation.
    """

    def __init__(self, num_classes: int, spec: WholeImage, asked: Sequence[str] = ()) -> None:
        super().__init__(num_classes, boundary="boundary_iou" in asked)
        self._spec, self._asked = spec, asked
        self._losses: list[float] = []
        self._seen, self._areas = Seen(), list[NDArray[np.float64]]()

    def judge(self, infer: Infer, images: Tensor, targets: Tensor) -> None:
        """Take in the answers to images [N, 3, H, W] with masks [N, H, W]."""
        for image, mask in zip(images.permute(0, 2, 3, 1).numpy(), targets.numpy(), strict=True):
            name = f"a validation image of {image.shape[1]} x {image.shape[0]} pixels"
            answer = np.empty_like(mask)
            loss = 0.0
            for part in scored_parts(image, self._spec, infer, len(self.confusion), name=name):
                planes, place = list(part.planes), (part.rows, part.columns)
                answer[place] = argmax_classes(planes)
                loss += _cross_entropy(planes, part.are_logits, mask[place])
            self.update(answer, mask)
            self._losses.append(loss)
            self._areas.append(np.bincount(answer.ravel(), minlength=len(self.confusion)) / answer.size)
        self._seen.add(images.numpy())

    def merge(self, other: Self) -> None:
        """Add what another one saw."""
        super().merge(other)
        self._losses += other._losses
        self._areas += other._areas
        self._seen.merge(other._seen)

    def compute(self) -> dict[str, float]:
        """The figures over all images; `loss` is the mean over the pixels that count."""
        # exactly rounded, so it does not depend on the order in which several processes judged
        loss, found = math.fsum(self._losses) / max(int(self.pixels.sum()), 1), super().compute()
        return with_asked({"loss": loss, **{name: found[name] for name in METRICS}}, found, self._asked)

    def tuned(self) -> dict[str, Any]:
        """`reference`: the share of the pixels that each class has, summed over the images."""
        return self._seen.keys(np.array([math.fsum(each) for each in zip(*self._areas, strict=True)]))


def _cross_entropy(planes: list[NDArray[np.float32]], are_logits: bool, mask: NDArray[np.uint8]) -> float:
    """Minus the logarithm of the share of each pixel's own class, summed over the pixels [h, w] that count.

    Where exp() of all logits has come to zero, all classes have the same share.
    """
    tiny = np.finfo(np.float32).tiny
    highest = reduce(np.maximum, planes) if are_logits else None
    total, own = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.float32)
    for class_id, plane in enumerate(planes):
        powers = plane if highest is None else np.exp(plane - highest)
        total += np.maximum(powers, tiny)
        right = mask == class_id
        own[right] = plane[right] if highest is None else (plane - highest)[right]
    if highest is None:
        own = np.log(np.maximum(own, tiny))
    counts = mask != IGNORED
    return float((np.log(total[counts]) - own[counts]).sum(dtype=np.float64))


def check_model(recipe: Recipe, model: nn.Module) -> None:
    """Raise a ConvsmithError unless the model gives logits for each pixel, as many outputs as the loss weighs."""
    if not isinstance(model, SegmentationModel):
        raise ConvsmithError(
            "segmentation cannot train this model",
            f"{type(model).__name__} gives logits for each image, not for each pixel",
            "Choose another model.name; `convsmith models` lists them with their task.",
        )
    try:
        whole_image(recipe.preprocess).check_classes(model.num_classes)
    except ValueError as error:
        raise ConvsmithError(f"preprocess.{error}", fix="Name classes by their numbers.") from error
    check_class_weights(recipe.loss.class_weights, model.num_classes)
    check_outputs(recipe.loss, len(model.heads))


def loss_bytes(recipe: Recipe, model: SegmentationModel) -> int:
    """Logits at the mask's size, their logarithms and their gradient in float32, for each output of the model."""
    height, width = recipe.augment.mask_size
    return 3 * 4 * len(model.heads) * model.num_classes * height * width


def objective(
    recipe: Recipe, model: SegmentationModel, data: DataSet, used: NDArray[np.int64], device: torch.device
) -> Objective:
    """The loss of masks [N, H, W] on logits [N, K, h, w], or several of them; the classes weigh by their pixels."""
    weight = loss_weights(recipe.loss.class_weights, data, used, device)
    loss_of = make_segmentation_loss(recipe.loss, weight, model.align_corners)
    distillation = recipe.distillation
    teach = load_teacher(recipe, device, data.classes) if distillation else None

    def training_loss(model: nn.Module, images: Tensor, targets: Tensor, epoch: int) -> Tensor:  # noqa: ARG001
        outputs = model(images)
        wanted = teach(images) if teach else None
        with torch.autocast(images.device.type, enabled=False):
            outputs = [outputs] if isinstance(outputs, Tensor) else outputs
            outputs = [output.float() for output in outputs]
            loss = loss_of(outputs, targets)
            if distillation is None or wanted is None:
                return loss
            distance = pixel_distance(distillation, outputs[-1], wanted.float(), targets)
            return (1 - distillation.alpha) * loss + distillation.alpha * distance

    return training_loss


def logits(model: SegmentationModel, images: Tensor) -> Tensor:
    """Logits [N, K, H, W] of normalised images [N, C, H, W]."""
    return model.segment(images)


def new_results(recipe: Recipe, num_classes: int) -> JudgedMasks:
    """An empty collection for one evaluation."""
    return JudgedMasks(num_classes, whole_image(recipe.preprocess), recipe.metrics)
