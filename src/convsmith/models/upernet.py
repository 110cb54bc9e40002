"""UPerNet on ConvNeXt, ResNet and ResNeSt: a feature pyramid, over a pyramid of means of the last stage.

Xiao et al. 2018 (arXiv:1807.10221). Names and arithmetic are those of mmsegmentation 0.30,
mmseg/models/decode_heads/uper_head.py, with the backbones of github.com/facebookresearch/ConvNeXt
(semantic_segmentation/backbone/convnext.py) and `ResNet` (not `ResNetV1c`). Sizes and classes are those of ADE20K.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.models.base import check_counts
from convsmith.models.convnext import ConvNeXt, LayerNorm2d
from convsmith.models.fcn import ConvNormReLU, DecodeHead, FCNHead, StagedSegmentation
from convsmith.models.layers import AdaptiveAverage
from convsmith.models.resnest import ResNeSt
from convsmith.models.resnet import BasicBlock, Bottleneck, ResNet

_BINS = (1, 2, 3, 6)


class UPerHead(DecodeHead):
    """From the last stage up, each map is added to the one before; all of them make the features.

    Args:
        widths: channels of the stages' maps.
        channels: of every map of the head.
        num_classes: number of classes K.
    """

    def __init__(self, widths: tuple[int, ...], channels: int, num_classes: int) -> None:
        super().__init__(channels, num_classes)
        *higher, last = widths
        self.psp_modules = nn.ModuleList(
            nn.Sequential(AdaptiveAverage(bins), ConvNormReLU(last, channels, 1)) for bins in _BINS
        )
        self.bottleneck = ConvNormReLU(last + len(_BINS) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvNormReLU(width, channels, 1) for width in higher)
        self.fpn_convs = nn.ModuleList(ConvNormReLU(channels, channels, 3) for _ in higher)
        self.fpn_bottleneck = ConvNormReLU(len(widths) * channels, channels, 3)

    def features(self, maps: list[Tensor]) -> Tensor:
        """[N, channels, H', W'] of the size of the first stage's map."""
        *higher, last = maps
        means = [_upsample(self.through(pool, last), last) for pool in self.psp_modules]
        sums = [self.through(self.bottleneck, torch.cat([last, *means], 1))]
        for lateral, x in zip(reversed(self.lateral_convs), reversed(higher), strict=True):
            sums.insert(0, self.through(lateral, x) + _upsample(sums[0], x))
        *first, top = sums
        smoothed = [self.through(conv, x) for conv, x in zip(self.fpn_convs, first, strict=True)]
        pyramid = [_upsample(x, smoothed[0]) for x in [*smoothed[1:], top]]
        out: Tensor = self.through(self.fpn_bottleneck, torch.cat([smoothed[0], *pyramid], 1))
        return out


def _upsample(x: Tensor, other: Tensor) -> Tensor:
    return F.interpolate(x, other.shape[-2:], mode="bilinear")


class UPerNet(StagedSegmentation):
    """The head on a classifier's stages, and an FCN head on the third.

    Args:
        backbone: a classifier without its last layers.
        widths: channels of its stages.
        num_classes: number of classes K.
        channels: of every map of the head; the auxiliary head has half as many.
    """

    def __init__(
        self, backbone: ConvNeXt | ResNet | ResNeSt, widths: tuple[int, int, int, int], num_classes: int, channels: int
    ) -> None:
        check_counts(channels=channels)
        super().__init__(
            backbone,
            UPerHead(widths, channels, num_classes),
            FCNHead(2, widths[2], (channels + 1) // 2, num_classes, depth=1, concatenate=False),
        )


class ConvNeXtUPerNet(UPerNet):
    """UPerNet on ConvNeXt, each of whose stages gets a norm.

    Args:
        depths: blocks in each stage.
        widths: channels of each stage.
        num_classes: number of classes K.
        in_channels: channels of the input image.
        drop_path: as for `ConvNeXt`; the official configs have 0.3 for small and 0.4 for the others.
        layer_scale_init_value: as for `ConvNeXt`, in whose classifiers it begins much smaller.
        channels: of every map of the head; the auxiliary head has half as many.
    """

    smallest_side = ConvNeXt.smallest_side

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        widths: tuple[int, int, int, int],
        num_classes: int = 150,
        in_channels: int = 3,
        drop_path: float = 0.0,
        layer_scale_init_value: float = 1.0,
        channels: int = 512,
    ) -> None:
        backbone = ConvNeXt(
            depths,
            widths,
            in_channels=in_channels,
            drop_path=drop_path,
            layer_scale_init_value=layer_scale_init_value,
        )
        eps = backbone.norm.eps
        del backbone.norm, backbone.head
        for i, width in enumerate(widths):
            backbone.add_module(f"norm{i}", LayerNorm2d(width, eps=eps))
        super().__init__(backbone, widths, num_classes, channels)

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """What the heads see: maps [N, widths[i], H_i, W_i] of the four stages, from images [N, C, H, W]."""
        maps = super().forward_stages(x)
        return [self.backbone.get_submodule(f"norm{i}")(y) for i, y in enumerate(maps)]


class ResNetUPerNet(UPerNet):
    """UPerNet on ResNet.

    Args:
        block: the residual block.
        depths: blocks in each of the four stages.
        num_classes: number of classes K.
        in_channels: channels of the input image.
        channels: of every map of the head; the auxiliary head has half as many.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        num_classes: int = 150,
        in_channels: int = 3,
        channels: int = 512,
    ) -> None:
        backbone = ResNet(block, depths, in_channels=in_channels)
        del backbone.fc
        first, second, third, fourth = (width * block.expansion for width in (64, 128, 256, 512))
        super().__init__(backbone, (first, second, third, fourth), num_classes, channels)


class ResNeStUPerNet(UPerNet):
    """UPerNet on ResNeSt.

    Args:
        depths: blocks in each of the four stages.
        num_classes: number of classes K.
        in_channels: channels of the input image.
        stem_width: as for `ResNeSt`.
        channels: of every map of the head; the auxiliary head has half as many.
    """

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        num_classes: int = 150,
        in_channels: int = 3,
        stem_width: int = 32,
        channels: int = 512,
    ) -> None:
        backbone = ResNeSt(depths, in_channels=in_channels, stem_width=stem_width)
        del backbone.fc
        super().__init__(backbone, (256, 512, 1024, 2048), num_classes, channels)


MODELS = {
    "convnext_tiny_upernet": partial(ConvNeXtUPerNet, (3, 3, 9, 3), (96, 192, 384, 768)),
    "convnext_small_upernet": partial(ConvNeXtUPerNet, (3, 3, 27, 3), (96, 192, 384, 768)),
    "convnext_base_upernet": partial(ConvNeXtUPerNet, (3, 3, 27, 3), (128, 256, 512, 1024)),
    "convnext_large_upernet": partial(ConvNeXtUPerNet, (3, 3, 27, 3), (192, 384, 768, 1536)),
    "convnext_xlarge_upernet": partial(ConvNeXtUPerNet, (3, 3, 27, 3), (256, 512, 1024, 2048)),
    "resnet18_upernet": partial(ResNetUPerNet, BasicBlock, (2, 2, 2, 2)),
    "resnet50_upernet": partial(ResNetUPerNet, Bottleneck, (3, 4, 6, 3)),
    "resnet101_upernet": partial(ResNetUPerNet, Bottleneck, (3, 4, 23, 3)),
    "resnest50_upernet": partial(ResNeStUPerNet, (3, 4, 6, 3)),
    "resnest101_upernet": partial(ResNeStUPerNet, (3, 4, 23, 3), stem_width=64),
}
SIZES = dict.fromkeys(MODELS, (512, 512))
BACKBONES = {name: name.rpartition("_")[0] for name in MODELS}
