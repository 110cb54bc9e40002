"""Recipes for several labels of each image."""

from __future__ import annotations

from convsmith.recipe.objective import CrossEntropy
from convsmith.recipe.sections import Sections
from convsmith.recipe.task_fit import Remedy, check_images

METRICS = ("map_macro", "map_micro", "f1_macro", "f1_micro", "subset_accuracy")
FIGURES = (
    "precision_macro", "precision_micro", "precision_weighted", "recall_macro", "recall_micro", "recall_weighted",
    "f1_weighted", "f1_samples", "auroc_macro", "auroc_micro", "hamming_loss", "brier", "ece", "adaptive_ece",
)  # fmt: skip
LOSS = "binary_cross_entropy"
RECIPES = {"finetune-small": "finetune-multilabel", "resnet18-folder": "resnet18-multilabel"}
UNEVEN = Remedy("each class is judged alike, at a threshold of its own")


def check(recipe: Sections) -> None:
    """Refuse what is of pixels, or needs one class of each image."""
    check_images(recipe)
    if isinstance(recipe.loss, CrossEntropy):
        raise ValueError(
            "loss.name `cross_entropy` lets an image have one class, but task is multilabel: "
            "choose binary_cross_entropy, asymmetric or focal"
        )
    if recipe.sampling.name == "balanced":
        raise ValueError(
            "sampling.name `balanced` needs one class for each image, but task is multilabel: "
            "weigh rare labels with loss.positive_weights"
        )
