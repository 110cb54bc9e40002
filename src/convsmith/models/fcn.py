"""Heads on the stages of a classifier, and FCN: a dilated ResNet with a head of convolutions.

Long et al. 2015 (arXiv:1411.4038), dilated as in Chen et al. 2017 (arXiv:1706.05587). Names and arithmetic are those of
mmsegmentation 0.30: mmseg/models/decode_heads/{decode_head,fcn_head}.py with the backbone `ResNet` (not `ResNetV1c`) of
configs/fcn/fcn_r50b-d8_512x1024_80k_cityscapes.py. Sizes and classes are those of ADE20K.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial

import torch
from torch import Tensor, nn

from convsmith.models.base import SegmentationModel
from convsmith.models.checkpointing import Recomputing
from convsmith.models.convnext import ConvNeXt
from convsmith.models.resnest import ResNeSt
from convsmith.models.resnet import BasicBlock, Bottleneck, ResNet


class ConvNormReLU(nn.Module):
    """A convolution that keeps the size, its norm and a ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.activate = nn.ReLU(inplace=True)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] to [N, out_channels, H, W]."""
        out: Tensor = self.activate(self.bn(self.conv(x)))
        return out


class DecodeHead(Recomputing):
    """Makes logits of the maps of all stages.

    Args:
        channels: of the features that the last convolution sees.
        num_classes: number of classes K.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        self.dropout = nn.Dropout2d(0.1)

    @abstractmethod
    def features(self, maps: list[Tensor]) -> Tensor:
        """[N, channels, H', W'] from the stages' maps [N, C_i, H_i, W_i]."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Logits [N, K, H', W'] from the stages' maps."""
        logits: Tensor = self.conv_seg(self.dropout(self.features(maps)))
        return logits


class FCNHead(DecodeHead):
    """3x3 convolutions on the map of one stage.

    Args:
        stage: whose map, 0 to 3.
        in_channels: of that map.
        channels: of the convolutions.
        num_classes: number of classes K.
        depth: number of convolutions.
        concatenate: one more convolution sees their result and the map itself.
    """

    def __init__(
        self, stage: int, in_channels: int, channels: int, num_classes: int, depth: int, concatenate: bool
    ) -> None:
        super().__init__(channels, num_classes)
        self.stage = stage
        widths = [in_channels] + [channels] * (depth - 1)
        self.convs = nn.ModuleList(ConvNormReLU(width, channels, 3) for width in widths)
        self.conv_cat = ConvNormReLU(in_channels + channels, channels, 3) if concatenate else None

    def features(self, maps: list[Tensor]) -> Tensor:
        """[N, channels, H', W'] of the size of the stage's map."""
        x = maps[self.stage]
        out = x
        for conv in self.convs:
            out = self.through(conv, out)
        return out if self.conv_cat is None else self.through(self.conv_cat, torch.cat([x, out], 1))


class StagedSegmentation(SegmentationModel):
    """A classifier's stages, a head on them, and a head on the third that only training needs.

    Args:
        backbone: a classifier without its last layers.
        decode_head: makes the prediction.
        auxiliary_head: makes the auxiliary logits.
    """

    heads = ("auxiliary_head.conv_seg", "decode_head.conv_seg")

    def __init__(
        self, backbone: ConvNeXt | ResNet | ResNeSt, decode_head: DecodeHead, auxiliary_head: DecodeHead
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.decode_head = decode_head
        self.auxiliary_head = auxiliary_head
        for path in self.heads:
            self._init_head(self._head_layer(path))

    def _init_head(self, layer: nn.Linear | nn.Conv2d) -> None:
        nn.init.normal_(layer.weight, std=0.01)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)

    def block_prefixes(self) -> list[tuple[str, ...]]:
        """Those of the classifier."""
        return [tuple(f"backbone.{name}" for name in block) for block in self.backbone.block_prefixes()]

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """What the heads see: maps [N, C_i, H_i, W_i] of the four stages, from images [N, C, H, W]."""
        self._check_images(x)
        return self.backbone.forward_stages(x)

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, D, H', W'] that the last convolution sees, but for its dropout, from images [N, C, H, W]."""
        return self.decode_head.features(self.forward_stages(x))

    def forward(self, x: Tensor) -> list[Tensor]:
        """[auxiliary, main] logits from normalised images [N, C, H, W].

        Of a plain backbone they are [N, K, H/16, W/16] and [N, K, H/4, W/4], rounded as its maps are; of a dilated one
        both are [N, K, H/8, W/8].
        """
        maps = self.forward_stages(x)
        return [self.auxiliary_head(maps), self.decode_head(maps)]


class ResNetFCN(StagedSegmentation):
    """A dilated ResNet with FCN heads.

    Args:
        block: the residual block.
        depths: blocks in each of the four stages.
        num_classes: number of classes K.
        in_channels: channels of the input image.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        num_classes: int = 150,
        in_channels: int = 3,
    ) -> None:
        backbone = ResNet(block, depths, in_channels=in_channels, dilated=True)
        del backbone.fc
        third, fourth = 256 * block.expansion, 512 * block.expansion
        super().__init__(
            backbone,
            FCNHead(3, fourth, fourth // 4, num_classes, depth=2, concatenate=True),
            FCNHead(2, third, third // 4, num_classes, depth=1, concatenate=False),
        )


MODELS = {
    "resnet18_fcn": partial(ResNetFCN, BasicBlock, (2, 2, 2, 2)),
    "resnet50_fcn": partial(ResNetFCN, Bottleneck, (3, 4, 6, 3)),
    "resnet101_fcn": partial(ResNetFCN, Bottleneck, (3, 4, 23, 3)),
}
SIZES = dict.fromkeys(MODELS, (512, 512))
BACKBONES = {name: name.rpartition("_")[0] for name in MODELS}
