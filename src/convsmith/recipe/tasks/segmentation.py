"""Recipes for one class of each pixel."""

from __future__ import annotations

from convsmith.recipe.objective import PixelLoss
from convsmith.recipe.sections import Sections
from convsmith.recipe.task_fit import Misfit, Remedy, check_one_class

METRICS = ("miou", "mean_accuracy", "pixel_accuracy")
FIGURES = ("miou_present", "dice", "precision", "recall", "image_iou", "boundary_iou")
LOSS = "cross_entropy"
RECIPES: dict[str, str] = {}
UNEVEN = Remedy()


def check(recipe: Sections) -> None:
    """Refuse what is of whole images."""
    augment = recipe.augment
    if recipe.preprocess.method != "whole":
        raise Misfit(
            "the task is segmentation (task), so preprocess.method is `whole`: an answer has the size of its image",
            "preprocess.method", "task",
        )  # fmt: skip
    if not isinstance(recipe.loss, PixelLoss):
        raise ValueError(f"loss.name `{recipe.loss.name}` is of images, not of pixels (task: segmentation)")
    check_one_class(recipe)
    unmoved = {
        "augment.policy": augment.policy,
        "augment.random_erasing": augment.random_erasing,
        "augment.efficientnet_crop": augment.efficientnet_crop,
    }
    for key, section in unmoved.items():
        if section is not None:
            raise ValueError(f"{key} changes images alone, and their masks would not fit (task: segmentation)")
    if recipe.data.decode != "exact":
        raise ValueError("data.decode `scaled` makes images smaller than their masks (task: segmentation)")
    if recipe.mixing is not None:
        raise ValueError("`mixing` is for classification, but task is segmentation: set mixing=null")
    if recipe.distillation is not None and recipe.distillation.kind == "features":
        raise ValueError("distillation.kind `features` compares whole images, but task is segmentation")
    if recipe.sampling.name == "balanced":
        raise ValueError("sampling.name `balanced` needs one class for each image, but task is segmentation")
