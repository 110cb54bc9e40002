"""UPerNet: a feature pyramid on the stages of a classifier, over a pyramid of means of the last one.

Xiao et al. 2018 (arXiv:1807.10221). Names and arithmetic are those of mmsegmentation 0.30,
mmseg/models/decode_heads/uper_head.py; with ConvNeXt those of github.com/facebookresearch/ConvNeXt,
semantic_segmentation/. The number of classes is that of ADE20K.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.models.base import StagedClassifier, check_counts
from convsmith.models.decoder import ConvNormReLU, DecodeHead, FCNHead, StagedSegmentation
from convsmith.models.layers import AdaptiveAverage

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
    """The head on a classifier's stages, and an FCN head on the last but one.

    Args:
        backbone: a classifier; its last layers are left out.
        num_classes: number of classes K.
        channels: of every map of the head; the auxiliary head has half as many.
    """

    def __init__(self, backbone: StagedClassifier, num_classes: int = 150, channels: int = 512) -> None:
        check_counts(channels=channels)
        widths = backbone.stage_widths
        super().__init__(
            backbone,
            UPerHead(widths, channels, num_classes),
            FCNHead(-2, widths[-2], (channels + 1) // 2, num_classes, depth=1, concatenate=False),
        )


DECODERS = {"upernet": UPerNet}
