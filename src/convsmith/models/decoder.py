"""Decoders on the stages of any classifier that gives them: what they share, and how one is put on a backbone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Signature, signature
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from convsmith.models.base import SegmentationModel, StagedClassifier
from convsmith.models.checkpointing import Recomputing


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
        stage: whose map, counted from the last: -1 is that.
        in_channels: of that map.
        channels: of the convolutions.
        num_classes: number of classes K.
        depth: number of convolutions.
        concatenate: one more convolution sees their result and the map itself.
    """

    def __init__(
        self, stage: int, in_channels: int, channels: int, num_classes: int, *, depth: int, concatenate: bool
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
    """A classifier's stages, a head on them, and a head on the last but one that only training needs.

    A decoder is a subclass, which takes the backbone and the number of classes and says what its heads are. Names are
    those of mmsegmentation 0.30: `backbone`, `decode_head`, `auxiliary_head`.

    Args:
        backbone: a classifier; its last layers are left out.
        decode_head: makes the prediction.
        auxiliary_head: makes the auxiliary logits.
    """

    heads = ("auxiliary_head.conv_seg", "decode_head.conv_seg")
    stages: ClassVar[slice] = slice(None)
    """The stages whose maps the heads use."""
    dilates: ClassVar[bool] = False
    """Whether the backbone is to be dilated where it has that option."""

    def __init__(self, backbone: StagedClassifier, decode_head: DecodeHead, auxiliary_head: DecodeHead) -> None:
        super().__init__()
        backbone.keep_stages(range(len(backbone.stage_widths))[self.stages])
        self.backbone = backbone
        self.decode_head = decode_head
        self.auxiliary_head = auxiliary_head
        self.smallest_side = backbone.smallest_side
        for path in self.heads:
            self._init_head(self._head_layer(path))

    @property
    def input_layer(self) -> str:
        """The backbone's."""
        return f"backbone.{self.backbone.input_layer}"

    @property
    def in_channels(self) -> int:
        """The backbone's."""
        return self.backbone.in_channels

    def _init_head(self, layer: nn.Linear | nn.Conv2d) -> None:
        nn.init.normal_(layer.weight, std=0.01)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)

    def block_prefixes(self) -> list[tuple[str, ...]]:
        """Those of the classifier."""
        return [tuple(f"backbone.{name}" for name in block) for block in self.backbone.block_prefixes()]

    def gradient_checkpointing(self, enabled: bool = True) -> None:
        """Also in the backbone, which may do it its own way."""
        super().gradient_checkpointing(enabled)
        self.backbone.gradient_checkpointing(enabled)

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The input of the heads: maps [N, C_i, H_i, W_i] of the stages, from images [N, C, H, W]."""
        self._check_images(x)
        return self.backbone.forward_stages(x)

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, D, H', W'] that the last convolution sees, but for its dropout, from images [N, C, H, W]."""
        return self.decode_head.features(self.forward_stages(x))

    def forward(self, x: Tensor) -> list[Tensor]:
        """[auxiliary, main] logits [N, K, H', W'] from normalised images [N, C, H, W].

        The auxiliary ones have the size of the last map but one; the main ones, of UPerNet that of the first map, of
        FCN that of the last.
        """
        maps = self.forward_stages(x)
        return [self.auxiliary_head(maps), self.decode_head(maps)]


@dataclass(frozen=True)
class Decoded:
    """Builds a decoder on a backbone; its options are those of both.

    Attributes:
        decoder: the class of the whole model.
        backbone: builds the classifier.
        family: the class of that.
    """

    decoder: type[StagedSegmentation]
    backbone: Callable[..., StagedClassifier]
    family: type[StagedClassifier]

    def __call__(self, **options: Any) -> StagedSegmentation:
        """The model.

        Raises:
            ConvsmithError, TypeError, ValueError: an option is unknown or has an impossible value.
        """
        own, theirs = split_options(self.decoder, options)
        known = signature(self.backbone).parameters
        usual = {**self.family.decoded_options, **({"dilated": True} if self.decoder.dilates else {})}
        return self.decoder(self.backbone(**{k: v for k, v in usual.items() if k in known} | theirs), **own)

    @property
    def __signature__(self) -> Signature:
        backbone = signature(self.backbone).parameters.values()
        theirs = (p.replace(kind=p.KEYWORD_ONLY) for p in backbone if p.name not in self.family.head_options)
        ours = (p.replace(kind=p.KEYWORD_ONLY) for p in decoder_options(self.decoder))
        return Signature([*ours, *theirs])


def split_options(decoder: type[StagedSegmentation], options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The decoder's own options, and those that are left for its backbone."""
    own = {parameter.name for parameter in decoder_options(decoder)}
    return (
        {name: value for name, value in options.items() if name in own},
        {name: value for name, value in options.items() if name not in own},
    )


def decoder_options(decoder: type[StagedSegmentation]) -> list[Any]:
    """Parameters of the decoder without its backbone."""
    return list(signature(decoder).parameters.values())[1:]
