"""ResNeSt, with the names and the arithmetic of the official code.

Zhang et al. 2020 (arXiv:2004.08955); github.com/zhanghang1989/ResNeSt, resnest/torch/models/resnet.py, splat.py,
resnest.py and ablation.py. DropBlock, which only training uses, is that of resnest/gluon.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from convsmith.models.base import StagedClassifier, check_counts
from convsmith.models.checkpointing import Blocks
from convsmith.models.families.resnet import shortcut
from convsmith.models.layers import DropBlock, stage_maps


class SplitAttention(nn.Module):
    """A 3x3 convolution into `radix` splits, and their sum, weighted per channel by attention over the splits.

    Channels of the splits are radix-major: the first C belong to split 0, the next C to split 1. The attention's last
    layer has groups, so its channels are cardinality-major and are brought into that order.

    Args:
        channels: C, of the input and of the output.
        stride: of the convolution.
        radix: number of splits R; with 1 the attention is a sigmoid instead of a softmax.
        cardinality: number of groups K, each with its own attention.
    """

    def __init__(self, channels: int, stride: int, radix: int, cardinality: int) -> None:
        super().__init__()
        self.radix = radix
        self.cardinality = cardinality
        splits = channels * radix
        hidden = max(splits // 4, 32)
        self.conv = nn.Conv2d(channels, splits, 3, stride, padding=1, groups=radix * cardinality, bias=False)
        self.bn0 = nn.BatchNorm2d(splits)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(channels, hidden, 1, groups=cardinality)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.fc2 = nn.Conv2d(hidden, splits, 1, groups=cardinality)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, H/stride, W/stride]."""
        # Split by split: reducing an axis of a five-dimensional tensor would lose channels_last.
        splits = self.relu(self.bn0(self.conv(x))).chunk(self.radix, 1)
        pooled = sum(splits[1:], splits[0]).mean((2, 3), keepdim=True)
        logits = self.fc2(self.relu(self.bn1(self.fc1(pooled))))
        # Under autocast softmax gives float32, which would make everything after it float32 too.
        attention = self._over_splits(logits).to(splits[0].dtype).unbind(1)
        out: Tensor = splits[0] * attention[0]
        for split, weight in zip(splits[1:], attention[1:], strict=True):
            out = torch.addcmul(out, split, weight)
        return out

    def _over_splits(self, logits: Tensor) -> Tensor:
        """Weights [N, R, C, 1, 1] from logits [N, K * R * C/K, 1, 1]."""
        if self.radix == 1:
            return logits.sigmoid().unsqueeze(1)
        per_group = torch.unflatten(logits.flatten(1), 1, (self.cardinality, self.radix, -1))
        return per_group.transpose(1, 2).softmax(1).flatten(2)[..., None, None]


class Bottleneck(nn.Module):
    """1x1 down, split attention, 1x1 up, around which the identity flows.

    Args:
        in_channels: channels of the input.
        width: a quarter of the output's channels.
        stride: of the block.
        radix: splits; 0 for a plain 3x3 convolution.
        cardinality: groups.
        bottleneck_width: channels per group at a stage width of 64.
        avg_down: the shortcut averages before its 1x1 convolution, instead of skipping positions.
        avd: average pooling makes the stride, not the 3x3 convolution.
        avd_first: that pooling comes before the 3x3 convolution.
        dropblock_prob: initial probability of three DropBlocks, None for no DropBlock.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        *,
        radix: int,
        cardinality: int,
        bottleneck_width: int,
        avg_down: bool,
        avd: bool,
        avd_first: bool,
        dropblock_prob: float | None,
    ) -> None:
        super().__init__()
        inner = int(width * (bottleneck_width / 64)) * cardinality
        out_channels = width * self.expansion

        def drop_block() -> nn.Module:
            return nn.Identity() if dropblock_prob is None else DropBlock(dropblock_prob)

        def pool(wanted: bool) -> nn.Module:
            return nn.AvgPool2d(3, stride, padding=1) if wanted else nn.Identity()

        pooled = avd and stride > 1
        conv_stride = 1 if pooled else stride
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.dropblock1 = drop_block()
        self.avd_before = pool(pooled and avd_first)
        self.conv2: nn.Module
        self.bn2: nn.Module | None
        if radix == 0:
            self.conv2 = nn.Conv2d(inner, inner, 3, conv_stride, padding=1, groups=cardinality, bias=False)
            self.bn2 = nn.BatchNorm2d(inner)
        else:
            self.conv2 = SplitAttention(inner, conv_stride, radix, cardinality)
            self.bn2 = None
        self.dropblock2 = drop_block()
        self.avd_after = pool(pooled and not avd_first)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.dropblock3 = drop_block()
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride, avg_down)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, 4 * width, H/stride, W/stride], sizes rounded up."""
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.dropblock1(self.bn1(self.conv1(x))))
        out = self.conv2(self.avd_before(out))
        out = self.dropblock2(out) if self.bn2 is None else self.relu(self.dropblock2(self.bn2(out)))
        out = self.dropblock3(self.bn3(self.conv3(self.avd_after(out))))
        out += identity
        return self.relu(out)  # type: ignore[no-any-return]


def _shortcut(in_channels: int, out_channels: int, stride: int, avg_down: bool) -> nn.Sequential | None:
    """A projection where the shape changes, else None for the identity."""
    if not avg_down or (stride == 1 and in_channels == out_channels):
        return shortcut(in_channels, out_channels, stride)
    # Odd sizes are rounded up, as the block's other branch rounds them.
    pool = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity()
    return nn.Sequential(pool, nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))


def _deep_stem(in_channels: int, width: int) -> nn.Sequential:
    """Three 3x3 convolutions in place of a 7x7 one (ResNet-C; He et al. 2018, arXiv:1812.01187)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
    )


class ResNeSt(StagedClassifier):
    """The split-attention network.

    Args:
        depths: blocks in each of the four stages.
        num_classes: number of logits K.
        in_channels: channels of the input image.
        radix: splits of a block's 3x3 convolution; 0 for a plain convolution without attention.
        cardinality: groups of that convolution.
        bottleneck_width: channels per group at a stage width of 64.
        deep_stem: three 3x3 convolutions instead of a 7x7 one.
        stem_width: channels of the deep stem's first two convolutions; the third has twice as many.
        avg_down: shortcuts average before their 1x1 convolution, instead of skipping positions.
        avd: in a block with a stride, average pooling makes it, not the 3x3 convolution.
        avd_first: that pooling comes before the 3x3 convolution ("fast").
        final_drop: dropout before the last layer; the published 200 and 269 were trained with 0.2.
        dropblock_prob: of the three DropBlocks in each block of the last two stages; training may change
            their `drop_prob` later.
        last_gamma: start each block as the identity, by a zero weight in its last norm. The official torch
            code has this option, but initialises that weight to 1 again.
    """

    heads = ("fc",)
    head_options = StagedClassifier.head_options | {"final_drop"}
    stage_widths = (256, 512, 1024, 2048)

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        radix: int = 2,
        cardinality: int = 1,
        bottleneck_width: int = 64,
        deep_stem: bool = True,
        stem_width: int = 32,
        avg_down: bool = True,
        avd: bool = True,
        avd_first: bool = False,
        final_drop: float = 0.0,
        dropblock_prob: float = 0.0,
        last_gamma: bool = False,
    ) -> None:
        super().__init__()
        check_counts(cardinality=cardinality, bottleneck_width=bottleneck_width, stem_width=stem_width)
        if radix < 0:
            raise ValueError(f"radix is 0 or more, not {radix}")

        def stage(in_channels: int, width: int, depth: int, stride: int, dropblock_prob: float | None) -> Blocks:
            block = partial(
                Bottleneck,
                radix=radix,
                cardinality=cardinality,
                bottleneck_width=bottleneck_width,
                avg_down=avg_down,
                avd=avd,
                avd_first=avd_first,
                dropblock_prob=dropblock_prob,
            )
            shapes = [(in_channels, stride)] + [(width * Bottleneck.expansion, 1)] * (depth - 1)
            return Blocks(*(block(c, width, s) for c, s in shapes))

        stem_channels = 2 * stem_width if deep_stem else 64
        self.conv1 = (
            _deep_stem(in_channels, stem_width)
            if deep_stem
            else nn.Conv2d(in_channels, stem_channels, 7, stride=2, padding=3, bias=False)
        )
        self.bn1 = nn.BatchNorm2d(stem_channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(stem_channels, 64, depths[0], 1, None)
        self.layer2 = stage(256, 128, depths[1], 2, None)
        self.layer3 = stage(512, 256, depths[2], 2, dropblock_prob)
        self.layer4 = stage(1024, 512, depths[3], 2, dropblock_prob)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(final_drop)
        self.fc = nn.Linear(2048, num_classes)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif last_gamma and isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)

    def block_prefixes(self) -> list[tuple[str, ...]]:
        """The stem, then each residual block."""
        return [("conv1.", "bn1."), *self._children("layer1", "layer2", "layer3", "layer4")]

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The stages' maps, 1/4, 1/8, 1/16 and 1/32 of the size of images [N, C, H, W], rounded up."""
        self._check_images(x)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return stage_maps((self.layer1, self.layer2, self.layer3, self.layer4), x)

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, 2048] from images [N, C, H, W], after the final dropout."""
        return self.drop(torch.flatten(self.avgpool(self.forward_stages(x)[-1]), 1))  # type: ignore[no-any-return]


def _fast(radix: int, cardinality: int, bottleneck_width: int) -> partial[ResNeSt]:
    return partial(
        ResNeSt,
        (3, 4, 6, 3),
        radix=radix,
        cardinality=cardinality,
        bottleneck_width=bottleneck_width,
        avd_first=True,
    )


MODELS = {
    "resnest50": partial(ResNeSt, (3, 4, 6, 3)),
    "resnest101": partial(ResNeSt, (3, 4, 23, 3), stem_width=64),
    "resnest200": partial(ResNeSt, (3, 24, 36, 3), stem_width=64),
    "resnest269": partial(ResNeSt, (3, 30, 48, 8), stem_width=64),
    # What the official torch code calls resnet50: the plain network but for attention over a single split.
    "resnest50_radix1": partial(ResNeSt, (3, 4, 6, 3), radix=1, deep_stem=False, avg_down=False, avd=False),
    # The ablation of the paper: radix s cardinality x width d.
    "resnest50_fast_1s1x64d": _fast(1, 1, 64),
    "resnest50_fast_2s1x64d": _fast(2, 1, 64),
    "resnest50_fast_4s1x64d": _fast(4, 1, 64),
    "resnest50_fast_1s2x40d": _fast(1, 2, 40),
    "resnest50_fast_2s2x40d": _fast(2, 2, 40),
    "resnest50_fast_4s2x40d": _fast(4, 2, 40),
    "resnest50_fast_1s4x24d": _fast(1, 4, 24),
}
SIZES = {"resnest101": (256, 256), "resnest200": (320, 320), "resnest269": (416, 416)}
