"""HRNetV2 for semantic segmentation, with a plain head and with object-contextual representations (OCR).

Wang et al. 2019 (arXiv:1908.07919); Yuan et al. 2020 (arXiv:1909.11065). Names and arithmetic are those of
`lib/models/seg_hrnet.py` and `lib/models/seg_hrnet_ocr.py` of HRNet-Semantic-Segmentation, branch HRNet-OCR.
The logits have 1/4 of the image's size, as in the official models; losses and metrics upsample them.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.models.base import SegmentationModel
from convsmith.models.families.hrnet import HRNetBackbone, conv_bn


def _init(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.001)


class HRNetFeatures(HRNetBackbone, SegmentationModel):
    """The part that both segmentation models share: all resolutions, upsampled to the highest and concatenated.

    Args:
        width: channels of the branch with the highest resolution.
        in_channels: channels of the input image.
        align_corners: how bilinear upsampling places the corner pixels.
    """

    def __init__(self, width: int, in_channels: int, align_corners: bool) -> None:
        super().__init__(width, partial(F.interpolate, mode="bilinear", align_corners=align_corners), in_channels)
        self.align_corners = align_corners
        _init(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, 15 * width, H/4, W/4] (rounded up) from images [N, C, H, W]."""
        self._check_images(x)
        first, *others = self.forward_branches(x)
        size = first.shape[-2:]
        return torch.cat([first, *(self.upsample(other, size) for other in others)], 1)


class HRNetSegmentation(HRNetFeatures):
    """HRNetV2 with its plain head of two 1x1 convolutions.

    Args:
        width: channels of the branch with the highest resolution.
        num_classes: number of classes K.
        in_channels: channels of the input image.
        align_corners: False in the official configs for Cityscapes, LIP and PASCAL-Context (59 classes);
            True in those for ADE20K and COCO-Stuff.
    """

    heads = ("last_layer.3",)

    def __init__(self, width: int, num_classes: int = 19, in_channels: int = 3, align_corners: bool = False) -> None:
        super().__init__(width, in_channels, align_corners)
        features = sum(self.channels)
        self.last_layer = nn.Sequential(
            *conv_bn(features, features, 1, bias=True),
            nn.Conv2d(features, num_classes, 1),
        )
        _init(self.last_layer[0])
        self._init_head(self._head_layer(self.heads[-1]))

    def _init_head(self, layer: nn.Linear | nn.Conv2d) -> None:
        _init(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K, H/4, W/4] (rounded up) from normalised images [N, C, H, W]."""
        logits: Tensor = self.last_layer(self.forward_features(x))
        return logits


def _conv_bn_relu(in_channels: int, out_channels: int) -> tuple[nn.Conv2d, nn.Sequential]:
    """A 1x1 convolution and, as OCR names them, its norm and ReLU together."""
    return (
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.Sequential(nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)),
    )


class ObjectAttention(nn.Module):
    """Describes each pixel by the regions that it resembles (the pixel-region relation of the OCR paper)."""

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.f_pixel = nn.Sequential(*_conv_bn_relu(channels, key_channels), *_conv_bn_relu(key_channels, key_channels))
        self.f_object = nn.Sequential(
            *_conv_bn_relu(channels, key_channels), *_conv_bn_relu(key_channels, key_channels)
        )
        self.f_down = nn.Sequential(*_conv_bn_relu(channels, key_channels))
        self.f_up = nn.Sequential(*_conv_bn_relu(key_channels, channels))
        self.scale = key_channels**-0.5

    def forward(self, x: Tensor, regions: Tensor) -> Tensor:
        """Context [N, C, H, W] of pixels [N, C, H, W], given one vector per region [N, C, K, 1]."""
        query_NPC = self.f_pixel(x).flatten(2).transpose(1, 2)
        key_NCK = self.f_object(regions).flatten(2)
        value_NCK = self.f_down(regions).flatten(2)
        weights_NPK = torch.softmax(self.scale * (query_NPC @ key_NCK), dim=-1)
        context = (value_NCK @ weights_NPK.transpose(1, 2)).unflatten(2, x.shape[-2:])
        out: Tensor = self.f_up(context)
        return out


class SpatialOCR(nn.Module):
    """Pixels and the context of their objects, mixed by a 1x1 convolution."""

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.object_context_block = ObjectAttention(channels, key_channels)
        self.conv_bn_dropout = nn.Sequential(*_conv_bn_relu(2 * channels, channels), nn.Dropout2d(0.05))

    def forward(self, x: Tensor, regions: Tensor) -> Tensor:
        """[N, C, H, W] from pixels of that shape and regions [N, C, K, 1]."""
        context = self.object_context_block(x, regions)
        out: Tensor = self.conv_bn_dropout(torch.cat([context, x], 1))
        return out


def gather_regions(x: Tensor, logits: Tensor) -> Tensor:
    """Mean feature of each class [N, C, K, 1], pixels weighted by a softmax of the class's logits over the image.

    Args:
        x: features [N, C, H, W].
        logits: coarse prediction [N, K, H, W].
    """
    weights_NKP = torch.softmax(logits.flatten(2), dim=2)
    return (x.flatten(2) @ weights_NKP.transpose(1, 2)).unsqueeze(3)


class HRNetOCR(HRNetFeatures):
    """HRNetV2 with object-contextual representations: a coarse prediction gathers class features that refine it.

    Args:
        width: channels of the branch with the highest resolution.
        num_classes: number of classes K.
        in_channels: channels of the input image.
        align_corners: True in every official config of this model.
    """

    heads = ("aux_head.3", "cls_head")

    def __init__(self, width: int, num_classes: int = 19, in_channels: int = 3, align_corners: bool = True) -> None:
        super().__init__(width, in_channels, align_corners)
        features, channels = sum(self.channels), 512
        self.conv3x3_ocr = conv_bn(features, channels, 3, bias=True)
        self.ocr_distri_head = SpatialOCR(channels, key_channels=256)
        self.cls_head = nn.Conv2d(channels, num_classes, 1)
        self.aux_head = nn.Sequential(
            *conv_bn(features, features, 1, bias=True),
            nn.Conv2d(features, num_classes, 1),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """[auxiliary, main] logits, each [N, K, H/4, W/4] (rounded up), from normalised images [N, C, H, W]."""
        features = self.forward_features(x)
        coarse = self.aux_head(features)
        x = self.conv3x3_ocr(features)
        x = self.ocr_distri_head(x, gather_regions(x, coarse))
        return [coarse, self.cls_head(x)]


MODELS = {
    "hrnet_w18_seg": partial(HRNetSegmentation, 18),
    "hrnet_w32_seg": partial(HRNetSegmentation, 32),
    "hrnet_w48_seg": partial(HRNetSegmentation, 48),
    "hrnet_w18_ocr": partial(HRNetOCR, 18),
    "hrnet_w32_ocr": partial(HRNetOCR, 32),
    "hrnet_w48_ocr": partial(HRNetOCR, 48),
}
SIZES = dict.fromkeys(MODELS, (512, 1024))
BACKBONES = {name: name.rpartition("_")[0] for name in MODELS}
