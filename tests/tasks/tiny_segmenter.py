"""A segmentation model small enough to follow: two outputs at half the image's size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from convsmith.models import registry
from convsmith.models.base import SegmentationModel


class TinySegmenter(SegmentationModel):
    heads = ("aux", "head")

    def __init__(self, num_classes: int = 4, features: int = 16, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, features, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(features)
        self.conv2 = nn.Conv2d(features, features, 5, padding=2, bias=False)
        self.bn2 = nn.BatchNorm2d(features)
        self.aux = nn.Conv2d(features, num_classes, 1)
        self.head = nn.Conv2d(features, num_classes, 1)

    def block_prefixes(self) -> list[tuple[str, ...]]:
        return [("conv1.", "bn1."), ("conv2.", "bn2.")]

    def forward_features(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))

    def forward(self, x: Tensor) -> list[Tensor]:
        features = self.forward_features(x)
        return [self.aux(features), self.head(features)]


def name_tiny_segmenter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recipes of a test name the network `tiny_segmenter`."""
    monkeypatch.setitem(registry._builders(), "tiny_segmenter", TinySegmenter)
