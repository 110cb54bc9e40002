"""A classifier small enough to follow, and recipes for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convsmith.models.base import ImageClassifier
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe

CLASSES, SIDE = 4, 8


class Tiny(ImageClassifier):
    heads = ("fc",)

    def __init__(self, features: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, features, 3)
        self.fc = nn.Linear(features, CLASSES)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.conv(x).relu().mean((2, 3))  # type: ignore[no-any-return]

    def block_prefixes(self) -> list[tuple[str, ...]]:
        return [("conv.",)]


def tiny(seed: int = 0, features: int = 5) -> Tiny:
    torch.manual_seed(seed)
    return Tiny(features)


def batch(count: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images [count, 3, 8, 8] and class indices [count]."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return images, torch.randint(0, CLASSES, (count,), generator=generator)


def recipe(*overrides: str) -> Recipe:
    return load_recipe("digits", [f"model.num_classes={CLASSES}", *overrides])
