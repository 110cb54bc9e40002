"""ResNet, ResNeXt and Wide ResNet, with the names and the arithmetic of torchvision's models (v1.5).

He et al. 2015 (arXiv:1512.03385); Xie et al. 2016 (arXiv:1611.05431); Zagoruyko and Komodakis 2016
(arXiv:1605.07146). "v1.5" puts the stride of a bottleneck on its 3x3 convolution.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from convsmith.models.base import StagedClassifier, check_counts
from convsmith.models.checkpointing import Blocks
from convsmith.models.layers import stage_maps


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, groups, bias=False)


def _conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """A projection where the shape changes (option B of the paper), else None for the identity."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(_conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the identity flows."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        groups: int = 1,
        width_per_group: int = 64,
        se: bool = False,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        if groups != 1 or width_per_group != 64 or se:
            raise ValueError("groups, width_per_group and se shape bottleneck blocks; ResNet-18 and -34 have none")
        self.conv1 = _conv3x3(in_channels, width, stride, dilation=dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, width, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm whose weight scales the whole residual branch."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, width, H/stride, W/stride]."""
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)  # type: ignore[no-any-return]


class SqueezeExcitation(nn.Module):
    """Weighs channels by what two small layers make of their means (Hu et al. 2018, arXiv:1709.01507).

    Args:
        channels: C.
        reduction: how many times narrower the layer between the two is.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same."""
        weight = self.fc2(self.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()
        return x * weight  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1 down, 3x3 (in groups for ResNeXt), 1x1 up, around which the identity flows."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        groups: int = 1,
        width_per_group: int = 64,
        se: bool = False,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        inner = int(width * (width_per_group / 64)) * groups
        out_channels = width * self.expansion
        self.conv1 = _conv1x1(in_channels, inner)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = _conv3x3(inner, inner, stride, groups, dilation)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = _conv1x1(inner, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.se = SqueezeExcitation(out_channels) if se else None
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, out_channels, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm whose weight scales the whole residual branch."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, 4 * width, H/stride, W/stride]."""
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.se is not None:
            out = self.se(out)
        out += identity
        return self.relu(out)  # type: ignore[no-any-return]


class ResNet(StagedClassifier):
    """The residual network for ImageNet-sized images.

    Args:
        block: the residual block.
        depths: blocks in each of the four stages.
        num_classes: number of logits K.
        in_channels: channels of the input image.
        groups: groups of the 3x3 convolution (ResNeXt's cardinality).
        width_per_group: channels per group at a stage width of 64.
        zero_init_residual: start each block as the identity, by a zero weight in its last norm
            ("last gamma"; Goyal et al. 2017, arXiv:1706.02677).
        se: a squeeze-and-excitation layer after the last convolution and norm of each bottleneck.
        dilated: the last two stages keep the resolution of the second, and dilate their 3x3 convolutions by 2 and 4
            instead; the first block of each by half of that. A basic block dilates its first convolution only.
    """

    heads = ("fc",)

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        groups: int = 1,
        width_per_group: int = 64,
        zero_init_residual: bool = False,
        se: bool = False,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        check_counts(groups=groups, width_per_group=width_per_group)

        def stage(in_channels: int, width: int, depth: int, stride: int, dilation: int = 1) -> Blocks:
            out_channels = width * block.expansion
            shapes = [(in_channels, stride, max(1, dilation // 2))] + [(out_channels, 1, dilation)] * (depth - 1)
            return Blocks(
                *(
                    block(c, width, s, groups=groups, width_per_group=width_per_group, se=se, dilation=d)
                    for c, s, d in shapes
                )
            )

        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(64, 64, depths[0], stride=1)
        self.layer2 = stage(64 * block.expansion, 128, depths[1], stride=2)
        third, fourth = ((1, 2), (1, 4)) if dilated else ((2, 1), (2, 1))  # stride, dilation
        self.layer3 = stage(128 * block.expansion, 256, depths[2], *third)
        self.layer4 = stage(256 * block.expansion, 512, depths[3], *fourth)
        self.stage_widths = tuple(width * block.expansion for width in (64, 128, 256, 512))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(self.stage_widths[-1], num_classes)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_(module.last_norm.weight)

    def block_prefixes(self) -> list[tuple[str, ...]]:
        """The stem, then each residual block."""
        return [("conv1.", "bn1."), *self._children("layer1", "layer2", "layer3", "layer4")]

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The stages' maps, 1/4, 1/8, 1/16 and 1/32 (dilated, 1/8) of the size of images [N, C, H, W], rounded up."""
        self._check_images(x)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return stage_maps((self.layer1, self.layer2, self.layer3, self.layer4), x)

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, 512 * expansion] from images [N, C, H, W]."""
        return torch.flatten(self.avgpool(self.forward_stages(x)[-1]), 1)


MODELS = {
    "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": partial(ResNet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
    "resnet101": partial(ResNet, Bottleneck, (3, 4, 23, 3)),
    "resnet152": partial(ResNet, Bottleneck, (3, 8, 36, 3)),
    "resnext50_32x4d": partial(ResNet, Bottleneck, (3, 4, 6, 3), groups=32, width_per_group=4),
    "resnext101_32x8d": partial(ResNet, Bottleneck, (3, 4, 23, 3), groups=32, width_per_group=8),
    "wide_resnet50_2": partial(ResNet, Bottleneck, (3, 4, 6, 3), width_per_group=128),
    "wide_resnet101_2": partial(ResNet, Bottleneck, (3, 4, 23, 3), width_per_group=128),
}
