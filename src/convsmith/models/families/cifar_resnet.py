"""The ResNets for 32x32 images of He et al. 2015, section 4.2, with parameter-free shortcuts (option A).

State-dict names are those of github.com/akamaster/pytorch_resnet_cifar10 (resnet.py).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.models.base import ImageClassifier
from convsmith.models.checkpointing import Blocks


class CifarBlock(nn.Module):
    """Two 3x3 convolutions; where the shape changes, the identity is subsampled and padded with zero channels."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = width - in_channels
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, width, H/stride, W/stride]."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.new_channels:
            half = self.new_channels // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(out + x)


class CifarResNet(ImageClassifier):
    """Three stages of `depth` blocks with 16, 32 and 64 channels: 6 * depth + 2 layers.

    Args:
        depth: blocks in each stage.
        num_classes: number of logits K.
        in_channels: channels of the input image.
    """

    heads = ("linear",)

    def __init__(self, depth: int, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()

        def stage(in_channels: int, width: int, stride: int) -> Blocks:
            first = CifarBlock(in_channels, width, stride)
            return Blocks(first, *(CifarBlock(width, width, 1) for _ in range(depth - 1)))

        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = stage(16, 16, stride=1)
        self.layer2 = stage(16, 32, stride=2)
        self.layer3 = stage(32, 64, stride=2)
        self.linear = nn.Linear(64, num_classes)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        self._init_head(self.linear)

    def _init_head(self, layer: nn.Linear | nn.Conv2d) -> None:
        nn.init.kaiming_normal_(layer.weight)

    def block_prefixes(self) -> list[tuple[str, ...]]:
        """The stem, then each residual block."""
        return [("conv1.", "bn1."), *self._children("layer1", "layer2", "layer3")]

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, 64] from images [N, C, H, W]; made for H = W = 32."""
        self._check_images(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)


MODELS = {f"cifar_resnet{6 * depth + 2}": partial(CifarResNet, depth) for depth in (3, 5, 7, 9, 18)}
SIZES = dict.fromkeys(MODELS, (32, 32))
