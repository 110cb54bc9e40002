"""Which sections of a recipe go with which task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsmith.complaints import either
from convsmith.recipe.better import LOSS
from convsmith.recipe.objective import BinaryCrossEntropy, CrossEntropy, Focal, PixelLoss

if TYPE_CHECKING:
    from convsmith.recipe.schema import Recipe

IMAGE_METRICS = ("top1", "balanced_accuracy")
PIXEL_METRICS = ("miou", "mean_accuracy", "pixel_accuracy")
"""The fractions that may judge a task, and the first one is the usual one; the loss may judge each task too."""


class Misfit(ValueError):
    """Names the `keys` that do not go together, where the words of its text may mean something else."""

    def __init__(self, text: str, *keys: str) -> None:
        super().__init__(text)
        self.keys = keys


def check_task(recipe: Recipe) -> None:
    """ValueError if a section does nothing for the recipe's task, or cannot be had with it."""
    if recipe.task == "segmentation":
        _check_segmentation(recipe)
    else:
        _check_classification(recipe)


def _check_segmentation(recipe: Recipe) -> None:
    augment = recipe.augment
    if recipe.preprocess.method != "whole":
        raise Misfit(
            "the task is segmentation (task), so preprocess.method is `whole`: an answer has the size of its image",
            "preprocess.method", "task",
        )  # fmt: skip
    if recipe.metric not in (*PIXEL_METRICS, LOSS):
        raise Misfit(
            f"segmentation (task) is judged by metric {either((*PIXEL_METRICS, LOSS))}, not by `{recipe.metric}`",
            "metric", "task",
        )  # fmt: skip
    if not isinstance(recipe.loss, PixelLoss):
        raise ValueError(f"loss.name `{recipe.loss.name}` is of images, not of pixels (task: segmentation)")
    unmoved = {
        "augment.policy": augment.policy,
        "augment.random_erasing": augment.random_erasing,
        "augment.efficientnet_crop": augment.efficientnet_crop,
    }
    for key, section in unmoved.items():
        if section is not None:
            raise ValueError(f"{key} changes images alone, and their masks would not fit (task: segmentation)")
    if recipe.mixing is not None:
        raise ValueError("`mixing` is for classification, but task is segmentation: set mixing=null")
    if recipe.distillation is not None and recipe.distillation.kind == "features":
        raise ValueError("distillation.kind `features` compares whole images, but task is segmentation")
    if recipe.sampling.name == "balanced":
        raise ValueError("sampling.name `balanced` needs one class for each image, but task is segmentation")


def _check_classification(recipe: Recipe) -> None:
    if recipe.preprocess.method == "whole":
        raise ValueError("preprocess.method `whole` is for segmentation, but task is classification")
    if recipe.metric not in (*IMAGE_METRICS, LOSS):
        raise Misfit(
            f"classification (task) is judged by metric {either((*IMAGE_METRICS, LOSS))}, not by `{recipe.metric}`",
            "metric", "task",
        )  # fmt: skip
    loss = recipe.loss
    if not isinstance(loss, CrossEntropy | BinaryCrossEntropy | Focal):
        raise ValueError(f"loss.name `{loss.name}` is of pixels, but task is classification")
    for key in ("output_weights", "align_corners"):
        if getattr(loss, key, None) is not None:
            raise ValueError(f"loss.{key} is for segmentation, but task is classification: put null on it")
    if recipe.data.masks is not None:
        raise ValueError("data.masks is for segmentation, but task is classification")
    if recipe.augment.mask_downsample_rate != 1:
        raise ValueError("augment.mask_downsample_rate is for segmentation, but task is classification")
