"""HRNetV2: the backbone with parallel resolutions and its ImageNet classifier.

Wang et al. 2019 (arXiv:1908.07919); Sun et al. 2019 (arXiv:1904.04514). Names and arithmetic are those of
`lib/models/cls_hrnet.py` of HRNet-Image-Classification; `hrnet_seg.py` holds the segmentation models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.models.base import StagedClassifier, VisionModel, check_counts
from convsmith.models.checkpointing import Blocks
from convsmith.models.families.resnet import BasicBlock, Bottleneck

# (x [N, C, h, w], size (H, W)) to [N, C, H, W].
Upsample = Callable[..., Tensor]


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, relu: bool = True, bias: bool = False
) -> nn.Sequential:
    """A convolution that keeps the size (rounded up after the stride), its norm and, with `relu`, a ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=bias)
    norm = nn.BatchNorm2d(out_channels)
    return nn.Sequential(conv, norm, nn.ReLU(inplace=True)) if relu else nn.Sequential(conv, norm)


class HighResolutionModule(nn.Module):
    """Residual blocks on each branch, then every branch becomes the sum of all, brought to its resolution.

    Args:
        channels: channels of each branch; branch i has 1/2^i of the first one's resolution (rounded up).
        upsample: brings a map to a larger size.
        blocks: residual blocks on each branch.
    """

    def __init__(self, channels: list[int], upsample: Upsample, blocks: int = 4) -> None:
        super().__init__()
        self.upsample = upsample
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(c, c) for _ in range(blocks))) for c in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_between(channels, source, target) for source in range(len(channels)))
            for target in range(len(channels))
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        """One map [N, C_i, H_i, W_i] per branch to the same shapes."""
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        return [self.relu(self._fuse(xs, target)) for target in range(len(xs))]

    def _fuse(self, xs: list[Tensor], target: int) -> Tensor:
        size = xs[target].shape[-2:]
        layers = self.fuse_layers[target]
        assert isinstance(layers, nn.ModuleList)
        terms = (layer(x) for layer, x in zip(layers, xs, strict=True))
        return reduce(torch.add, (self.upsample(y, size) if i > target else y for i, y in enumerate(terms)))


def _between(channels: list[int], source: int, target: int) -> nn.Module:
    """Layers between branch `source` and branch `target`, before any upsampling."""
    if source == target:
        return nn.Identity()
    if source > target:
        return conv_bn(channels[source], channels[target], 1, relu=False)
    same = (conv_bn(channels[source], channels[source], 3, stride=2) for _ in range(target - source - 1))
    return nn.Sequential(*same, conv_bn(channels[source], channels[target], 3, stride=2, relu=False))


def _transition(before: list[int], after: list[int]) -> nn.ModuleList:
    """Layers that lead to the branches of the next stage; the last one opens a new branch at half the resolution."""
    kept = (nn.Identity() if b == a else conv_bn(b, a, 3) for b, a in zip(before, after, strict=False))
    return nn.ModuleList([*kept, nn.Sequential(conv_bn(before[-1], after[-1], 3, stride=2))])


class HRNetBackbone(VisionModel):
    """Stem, a stage of bottlenecks, and three stages with two, three and four parallel resolutions.

    Args:
        width: channels of the branch with the highest resolution; each further branch has twice as many.
        upsample: how lower resolutions are brought to higher ones.
        in_channels: channels of the input image.
        first_blocks: bottlenecks in the first stage.
        first_width: a quarter of the channels that they give.
        modules: fusions in each of the other three stages.
        blocks: residual blocks on each branch before a fusion.
    """

    def __init__(
        self,
        width: int,
        upsample: Upsample,
        in_channels: int,
        *,
        first_blocks: int = 4,
        first_width: int = 64,
        modules: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
    ) -> None:
        super().__init__()
        check_counts(first_blocks=first_blocks, first_width=first_width, blocks=blocks)
        if len(modules) != 3:
            raise ValueError(f"modules are three numbers, one for each stage after the first, not {modules}")
        self.upsample = upsample
        self.channels = [width, 2 * width, 4 * width, 8 * width]

        def stage(branches: int) -> Blocks:
            count = modules[branches - 2]
            return Blocks(*(HighResolutionModule(self.channels[:branches], upsample, blocks) for _ in range(count)))

        self.conv1 = nn.Conv2d(in_channels, 64, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        first = first_width * Bottleneck.expansion
        others = (Bottleneck(first, first_width) for _ in range(first_blocks - 1))
        self.layer1 = Blocks(Bottleneck(64, first_width), *others)
        self.transition1 = _transition([first], self.channels[:2])
        self.stage2 = stage(branches=2)
        self.transition2 = _transition(self.channels[:2], self.channels[:3])
        self.stage3 = stage(branches=3)
        self.transition3 = _transition(self.channels[:3], self.channels[:4])
        self.stage4 = stage(branches=4)

    def block_prefixes(self) -> list[tuple[str, ...]]:
        """The stem, each block of the first stage, and each module of the others, the first with its transition.

        What comes after the four resolutions counts as head: a classifier's `incre_modules`, `downsamp_modules` and
        `final_layer`, and all layers of a segmentation head.
        """
        prefixes: list[tuple[str, ...]] = [("conv1.", "bn1.", "conv2.", "bn2."), *self._children("layer1")]
        for i in (1, 2, 3):
            first, *others = self._children(f"stage{i + 1}")
            prefixes += [(f"transition{i}.", *first), *others]
        return prefixes

    def forward_branches(self, x: Tensor) -> list[Tensor]:
        """Maps [N, 2^i * width, H/2^(2+i), W/2^(2+i)] (rounded up), i = 0 to 3, from images [N, C, H, W]."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        xs = [self.layer1(x)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            xs = stage([layer(xs[min(i, len(xs) - 1)]) for i, layer in enumerate(transition)])
        return xs


class HRNet(HRNetBackbone, StagedClassifier):
    """The classifier: the four resolutions are widened and added from the highest to the lowest.

    Where the official code upsamples by powers of two, ours upsamples to the size of the other map: the same wherever
    the official code runs, and any image size is admitted.

    Args:
        width: channels of the branch with the highest resolution.
        num_classes: number of logits K.
        in_channels: channels of the input image.
        upsample: how lower resolutions are brought to higher ones: `nearest`, or `bilinear` as for segmentation.
        first_blocks, first_width, modules, blocks: as for `HRNetBackbone`.
    """

    heads = ("classifier",)
    decoded_options = {"upsample": "bilinear"}  # noqa: RUF012

    def __init__(
        self,
        width: int,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        upsample: Literal["nearest", "bilinear"] = "nearest",
        first_blocks: int = 4,
        first_width: int = 64,
        modules: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
    ) -> None:
        if upsample not in ("nearest", "bilinear"):
            raise ValueError(f"upsample is nearest or bilinear, not {upsample}")
        super().__init__(
            width,
            partial(F.interpolate, mode=upsample),
            in_channels,
            first_blocks=first_blocks,
            first_width=first_width,
            modules=modules,
            blocks=blocks,
        )
        self.stage_widths = tuple(self.channels)
        widths = (32, 64, 128, 256)
        outs = [w * Bottleneck.expansion for w in widths]
        self.incre_modules = nn.ModuleList(Blocks(Bottleneck(c, w)) for c, w in zip(self.channels, widths, strict=True))
        self.downsamp_modules = nn.ModuleList(
            conv_bn(high, low, 3, stride=2, bias=True) for high, low in pairwise(outs)
        )
        self.final_layer = conv_bn(outs[-1], 2048, 1, bias=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(2048, num_classes)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The four resolutions, 1/4, 1/8, 1/16 and 1/32 of the size of images [N, C, H, W], rounded up."""
        self._check_images(x)
        return self.forward_branches(x)

    def keep_stages(self, used: Sequence[int]) -> None:
        """Leave out all layers that widen and add up the resolutions, and freeze those that lead to unused ones."""
        del self.incre_modules, self.downsamp_modules, self.final_layer, self.classifier
        last = self.stage4[-1]
        assert isinstance(last, HighResolutionModule)
        for i, layers in enumerate(last.fuse_layers):
            layers.requires_grad_(i in used)

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, 2048] from images [N, C, H, W]."""
        first, *others = (widen(x) for widen, x in zip(self.incre_modules, self.forward_stages(x), strict=True))
        x = first
        for downsample, other in zip(self.downsamp_modules, others, strict=True):
            x = other + downsample(x)
        return torch.flatten(self.avgpool(self.final_layer(x)), 1)


MODELS = {
    "hrnet_w18_small_v1": partial(HRNet, 16, first_blocks=1, first_width=32, modules=(1, 1, 1), blocks=2),
    "hrnet_w18_small_v2": partial(HRNet, 18, first_blocks=2, modules=(1, 3, 2), blocks=2),
    **{f"hrnet_w{width}": partial(HRNet, width) for width in (18, 30, 32, 40, 44, 48, 64)},
}
