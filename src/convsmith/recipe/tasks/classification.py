"""Recipes for one class of each image."""

from __future__ import annotations

from convsmith.recipe.objective import Asymmetric
from convsmith.recipe.sections import Sections
from convsmith.recipe.task_fit import Remedy, check_images, check_one_class

METRICS = ("top1", "balanced_accuracy")
FIGURES = (
    "top3", "top5", "top10", "precision_macro", "precision_weighted", "recall_macro", "recall_weighted", "f1_macro",
    "f1_micro", "f1_weighted", "auroc", "average_precision", "brier", "ece", "adaptive_ece",
)  # fmt: skip
LOSS = "cross_entropy"
RECIPES: dict[str, str] = {}
UNEVEN = Remedy(
    "each class is drawn and judged alike",
    ("sampling.name=balanced", "metric=balanced_accuracy"),
    {"resnet18-folder": "imbalanced"},
)


def check(recipe: Sections) -> None:
    """Refuse what is of pixels, or of several labels."""
    check_images(recipe)
    check_one_class(recipe)
    if isinstance(recipe.loss, Asymmetric):
        raise ValueError("loss.name `asymmetric` is of several labels, but task is classification")
