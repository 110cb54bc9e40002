"""What every model offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class VisionModel(nn.Module, ABC):
    """A network for images, whose last layers can be replaced to change the number of classes.

    A family names in `heads` its layers that give logits, as dotted paths such as `classifier.1`: the last one gives
    the prediction, those before it logits that only training needs.
    """

    heads: ClassVar[tuple[str, ...]]

    @property
    def num_classes(self) -> int:
        """K, the number of logits."""
        layer = self._head_layer(self.heads[-1])
        return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels

    @property
    def input_layer(self) -> str:
        """Dotted path of the convolution that sees the image."""
        return next(path for path, module in self.named_modules() if isinstance(module, nn.Conv2d))

    @property
    def in_channels(self) -> int:
        """C, the channels of the images."""
        layer = self.get_submodule(self.input_layer)
        assert isinstance(layer, nn.Conv2d)
        return layer.in_channels

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Features that the head sees, from images [N, C, H, W]."""

    def reset_head(self, num_classes: int) -> None:
        """Replace the layers that give logits by freshly initialised ones for `num_classes` classes."""
        for path in self.heads:
            old = self._head_layer(path)
            device, dtype = old.weight.device, old.weight.dtype
            new: nn.Module
            if isinstance(old, nn.Linear):
                new = nn.Linear(old.in_features, num_classes, device=device, dtype=dtype)
            else:
                new = nn.Conv2d(old.in_channels, num_classes, 1, device=device, dtype=dtype)
            self.set_submodule(path, new)

    def _head_layer(self, path: str) -> nn.Linear | nn.Conv2d:
        layer = self.get_submodule(path)
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        return layer


class ImageClassifier(VisionModel):
    """A network that maps images [N, C, H, W] to logits [N, K]: its one head is linear, on features [N, D]."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] from normalised images [N, C, H, W]."""
        logits: Tensor = self._head_layer(self.heads[-1])(self.forward_features(x))
        return logits


class SegmentationModel(VisionModel):
    """A network that maps images [N, C, H, W] to one logit per class and pixel: its heads are 1x1 convolutions."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits [N, K, H', W'], or a list of such maps whose last one is the prediction."""
