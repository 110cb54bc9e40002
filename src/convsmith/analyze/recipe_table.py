"""Which packaged recipes suit how many images, on which device: the one table that a choice is made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SMALL_SIDE = 40  # pixels; enlarging such images to 224 shows a network nothing new


@dataclass(frozen=True)
class RecipeRow:
    """Recipes for data of one size, each as on the command line: its name, and what is changed in it.

    Attributes:
        below: so many training images are for the next row.
        why: what so many images ask for, of which the recipes are made.
        cpu: recipes that start from pretrained weights, the best first: those that train within the time on a CPU.
        gpu: likewise, strong ones for a GPU.
        scratch: the recipe where no weights can be had.
    """

    below: float
    why: str
    cpu: tuple[str, ...]
    gpu: tuple[str, ...]
    scratch: str


_ON_GPU = ("finetune-convnext_tiny", "finetune-resnet50", "finetune-small")

PHOTOS = (
    RecipeRow(
        300,
        "small batches and many epochs, for enough steps",
        ("finetune-mobilenet schedule.epochs=100", "finetune-small schedule.epochs=100"),
        tuple(f"{recipe} schedule.epochs=100" for recipe in _ON_GPU),
        "resnet18-folder batch.size=16 optimizer.lr=0.0125 schedule.epochs=120",
    ),
    RecipeRow(
        1000,
        "small batches and many epochs, for enough steps",
        ("finetune-mobilenet", "finetune-small"),
        _ON_GPU,
        "resnet18-folder batch.size=16 optimizer.lr=0.0125 schedule.epochs=120",
    ),
    RecipeRow(
        5000,
        "small batches, for enough steps",
        ("finetune-mobilenet", "finetune-small"),
        _ON_GPU,
        "resnet18-folder batch.size=32 optimizer.lr=0.025",
    ),
    RecipeRow(
        math.inf,
        "enough for large batches",
        ("finetune-mobilenet-many", "finetune-small batch.size=128 optimizer.lr=0.02 schedule.epochs=12"),
        (
            "finetune-convnext_tiny-many",
            "finetune-resnet50-many",
            "finetune-small batch.size=128 optimizer.lr=0.02 schedule.epochs=12",
        ),
        "resnet18-folder",
    ),
)
"""For images of classes."""

_SMALL = ("finetune-cifar_resnet20",)
_MANY_SMALL = ("finetune-cifar_resnet20 batch.size=128 optimizer.lr=0.2 schedule.epochs=12",)

SMALL_PHOTOS = (
    RecipeRow(
        5000,
        "small batches and more epochs, for enough steps",
        _SMALL,
        _SMALL,
        "cifar_resnet20-cifar10-short model.num_classes=null batch.size=32 optimizer.lr=0.05 schedule.epochs=30",
    ),
    RecipeRow(
        math.inf,
        "enough for large batches",
        _MANY_SMALL,
        _MANY_SMALL,
        "cifar_resnet20-cifar10-short model.num_classes=null",
    ),
)
"""For images of classes whose shorter side has at most `SMALL_SIDE` pixels."""

_SEGMENTERS = ("convnext_tiny_upernet-folder", "resnet50_upernet-folder", "hrnet_w18_seg-folder")

SCENES = (
    RecipeRow(
        150,
        "small batches, for enough steps",
        ("hrnet_w18_seg-folder batch.size=4",),
        tuple(f"{recipe} batch.size=4" for recipe in _SEGMENTERS),
        "hrnet_w18_seg-folder model.weights=null batch.size=4",
    ),
    RecipeRow(500, "100 epochs", ("hrnet_w18_seg-folder",), _SEGMENTERS, "hrnet_w18_seg-folder model.weights=null"),
    RecipeRow(5000, "100 epochs", ("resnet18_fcn-folder",), _SEGMENTERS, "hrnet_w18_seg-folder model.weights=null"),
    RecipeRow(
        math.inf,
        "30 epochs do",
        ("resnet18_fcn-folder schedule.epochs=30",),
        tuple(f"{recipe} schedule.epochs=30" for recipe in _SEGMENTERS),
        "hrnet_w18_seg-folder model.weights=null schedule.epochs=30",
    ),
)
"""For images with masks."""

FASTER = {
    "finetune-convnext_tiny": "finetune-resnet50",
    "finetune-convnext_tiny-many": "finetune-resnet50-many",
    "finetune-resnet50": "finetune-mobilenet",
    "finetune-resnet50-many": "finetune-mobilenet-many",
    "convnext_tiny_upernet-folder": "hrnet_w18_seg-folder",
    "resnet50_upernet-folder": "hrnet_w18_seg-folder",
    "hrnet_w18_seg-folder": "resnet18_fcn-folder",
}
"""For a recipe that is chosen, one that learns faster and less."""


def row_for(table: Sequence[RecipeRow], images: int) -> RecipeRow:
    """The row of a table for so many training images."""
    return next(row for row in table if images < row.below)
