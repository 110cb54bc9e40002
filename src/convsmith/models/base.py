"""What every image classifier offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class ImageClassifier(nn.Module, ABC):
    """A network that maps images [N, C, H, W] to logits [N, K].

    A family names its last linear layer in `head`, as a dotted path such as `classifier.1`; its `forward` is that layer
    on `forward_features`.
    """

    head: ClassVar[str]

    @property
    def num_classes(self) -> int:
        """K, the number of logits."""
        return self._linear_head().out_features

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, D] that the last layer sees, from images [N, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] from normalised images [N, C, H, W]."""
        logits: Tensor = self._linear_head()(self.forward_features(x))
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one of `num_classes` logits."""
        old = self._linear_head()
        new = nn.Linear(old.in_features, num_classes, device=old.weight.device, dtype=old.weight.dtype)
        self.set_submodule(self.head, new)

    def _linear_head(self) -> nn.Linear:
        layer = self.get_submodule(self.head)
        assert isinstance(layer, nn.Linear)
        return layer
