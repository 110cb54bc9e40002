"""A network of some thousand parameters that has whatever a recipe can switch on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from convsmith.models import registry
from convsmith.models.base import ImageClassifier
from convsmith.models.checkpointing import Blocks
from convsmith.models.layers import DropBlock, DropPath


class TinyBlock(nn.Module):
    def __init__(self, drop_path: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.drop_block = DropBlock()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.drop_block(torch.relu(self.bn(self.conv(x)))))  # type: ignore[no-any-return]


class TinyNet(ImageClassifier):
    heads = ("head",)

    def __init__(self, num_classes: int = 10, drop_path: float = 0.0, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 8, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = Blocks(TinyBlock(drop_path / 2), TinyBlock(drop_path))
        self.head = nn.Linear(8, num_classes)

    def block_prefixes(self) -> list[tuple[str, ...]]:
        return [("conv1.", "bn1."), *self._children("layer1")]

    def forward_features(self, x: Tensor) -> Tensor:
        features: Tensor = self.layer1(torch.relu(self.bn1(self.conv1(x)))).mean((2, 3))
        return features


def name_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recipes of one test name the network `tiny`."""
    monkeypatch.setitem(registry._builders(), "tiny", TinyNet)
