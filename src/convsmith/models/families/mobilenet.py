"""MobileNetV2, with the names and the arithmetic of torchvision's model (torchvision/models/mobilenetv2.py).

Sandler et al. 2018 (arXiv:1801.04381).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.models.base import StagedClassifier
from convsmith.models.checkpointing import Blocks

# For each stage: expansion of its blocks, channels, blocks, stride of the first block (table 2 of the paper).
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


# The last layer of each resolution from 1/4 to 1/32; the very last one is the convolution that widens to the head.
_STAGE_ENDS = (3, 6, 13, 18)


def _conv_bn_relu6(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    )


def _multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8, or the next one where that would lose more than a tenth of the channels."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


class InvertedResidual(nn.Module):
    """1x1 up, depthwise 3x3, 1x1 down with no activation; the identity flows around it where shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.has_identity = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *([_conv_bn_relu6(in_channels, inner, 1)] if expansion != 1 else []),
            _conv_bn_relu6(inner, inner, 3, stride, groups=inner),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H/stride, W/stride] (rounded up)."""
        out: Tensor = self.conv(x)
        return x + out if self.has_identity else out


class MobileNetV2(StagedClassifier):
    """A light network of inverted residuals.

    Args:
        num_classes: number of logits K.
        in_channels: channels of the input image.
        width_mult: multiplies the channels of every layer (of the last convolution only above 1).
        dropout: probability to zero a feature before the head.
    """

    heads = ("classifier.1",)
    head_options = StagedClassifier.head_options | {"dropout"}

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
    ) -> None:
        super().__init__()
        if width_mult <= 0:
            raise ValueError(f"width_mult must be positive, not {width_mult}")
        channels = _multiple_of_8(32 * width_mult)
        layers: list[nn.Module] = [_conv_bn_relu6(in_channels, channels, 3, stride=2)]
        widths = [channels]
        for expansion, width, depth, stride in _STAGES:
            out_channels = _multiple_of_8(width * width_mult)
            for i in range(depth):
                layers.append(InvertedResidual(channels, out_channels, stride if i == 0 else 1, expansion))
                channels = out_channels
                widths.append(channels)
        last_channels = _multiple_of_8(1280 * max(1.0, width_mult))
        layers.append(_conv_bn_relu6(channels, last_channels, 1))
        widths.append(last_channels)
        self.stage_widths = tuple(widths[end] for end in _STAGE_ENDS)
        self.features = Blocks(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last_channels, num_classes))

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        self._init_head(self._head_layer(self.heads[-1]))

    def _init_head(self, layer: nn.Linear | nn.Conv2d) -> None:
        assert layer.bias is not None
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)

    def block_prefixes(self) -> list[tuple[str, ...]]:
        """The stem, then each inverted residual; the last convolution belongs to the head."""
        return self._children("features")[:-1]

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The stages' maps, 1/4, 1/8, 1/16 and 1/32 of the size of images [N, C, H, W], rounded up."""
        self._check_images(x)
        maps = []
        for i, block in enumerate(self.features):
            x = self.features.through(block, x)
            if i in _STAGE_ENDS:
                maps.append(x)
        return maps

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, 1280] (more where width_mult is above 1) from images [N, C, H, W], after the dropout."""
        self._check_images(x)
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        features: Tensor = self.classifier[0](torch.flatten(x, 1))
        return features


MODELS = {"mobilenet_v2": MobileNetV2}
