"""ConvNeXt, staged and isotropic, with the names and the arithmetic of the official code.

Liu et al. 2022 (arXiv:2201.03545); github.com/facebookresearch/ConvNeXt: models/convnext.py, convnext_isotropic.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from convsmith.models.base import ImageClassifier, StagedClassifier
from convsmith.models.checkpointing import Blocks
from convsmith.models.layers import DropPath

_EPS = 1e-6


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of a map, at each position by itself."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        # The permutation of a channels_last map is a view, so the fused kernel runs with no copy.
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, norm, and a two-layer perceptron at each position, around which the identity flows."""

    gamma: nn.Parameter | None

    def __init__(self, channels: int, drop_path: float, layer_scale_init_value: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * channels, channels)
        scale = float(layer_scale_init_value)  # of a whole number, torch.full would make integers
        self.gamma = nn.Parameter(torch.full((channels,), scale)) if scale else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to the same shape."""
        out_NHWC = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        out_NHWC = self.pwconv2(self.act(self.pwconv1(out_NHWC)))
        if self.gamma is not None:
            out_NHWC = self.gamma * out_NHWC
        return x + self.drop_path(out_NHWC.permute(0, 3, 1, 2))  # type: ignore[no-any-return]


class _ConvNeXtClassifier(ImageClassifier):
    """Parts that both shapes of the network share: initialisation, norm and head after the average pooling."""

    heads = ("head",)

    def _add_head(self, channels: int, num_classes: int, init_scale: float) -> None:
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.head = nn.Linear(channels, num_classes)
        self.head_init_scale = init_scale
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module is not self.head:
                _init(module)
        self._init_head(self.head)

    def _init_head(self, layer: nn.Linear | nn.Conv2d) -> None:
        _init(layer)
        with torch.no_grad():
            layer.weight.mul_(self.head_init_scale)

    def _pool(self, x: Tensor) -> Tensor:
        """Features [N, C] from maps [N, C, H, W]."""
        features: Tensor = self.norm(x.mean((2, 3)))
        return features


class ConvNeXt(_ConvNeXtClassifier, StagedClassifier):
    """Four stages, each at half the resolution of the one before; the stem divides the sides by 4.

    Args:
        depths: blocks in each stage.
        widths: channels of each stage.
        num_classes: number of logits K (1000, or 21841 for ImageNet-22K).
        in_channels: channels of the input image.
        drop_path: probability to drop the last block's branch; it grows linearly with depth, from 0 at the first.
        layer_scale_init_value: initial factor of each channel of a branch, learned; 0 leaves the factors out.
        head_init_scale: multiplies the head's initial weights (the official fine-tuning uses 0.001).
    """

    smallest_side = 32
    head_options = StagedClassifier.head_options | {"head_init_scale"}
    decoded_options = {"layer_scale_init_value": 1.0}  # noqa: RUF012

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        widths: tuple[int, int, int, int],
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        drop_path: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        head_init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.stage_widths = tuple(widths)
        stem = nn.Sequential(nn.Conv2d(in_channels, widths[0], 4, stride=4), LayerNorm2d(widths[0], eps=_EPS))
        self.downsample_layers = nn.ModuleList([stem])
        for width, wider in pairwise(widths):
            self.downsample_layers.append(
                nn.Sequential(LayerNorm2d(width, eps=_EPS), nn.Conv2d(width, wider, 2, stride=2))
            )
        rates = iter(_drop_path_rates(drop_path, sum(depths)))
        self.stages = nn.ModuleList(
            Blocks(*(ConvNeXtBlock(width, next(rates), layer_scale_init_value) for _ in range(depth)))
            for depth, width in zip(depths, widths, strict=True)
        )
        self._add_head(widths[-1], num_classes, head_init_scale)

    def block_prefixes(self) -> list[tuple[str, ...]]:
        """The official 13 layers (get_num_layer_for_convnext of optim_factory.py), whatever the depth.

        They fit the deeper models; in tiny, whose third stage has 9 blocks instead of 27, ids 6 to 11 are empty.
        """
        third = self._children("stages.2")
        threes = [sum(third[b : b + 3], ()) for b in range(0, 27, 3)]
        threes[0] = ("downsample_layers.2.", *threes[0])
        return [
            ("downsample_layers.0.",),
            ("stages.0.",),
            ("downsample_layers.1.", "stages.1."),
            *threes,
            ("downsample_layers.3.", "stages.3."),
        ]

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The stages' maps, 1/4, 1/8, 1/16 and 1/32 of the size of images [N, C, H, W], rounded down.

        A backbone normalises those that are used.
        """
        self._check_images(x)
        maps = []
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
            maps.append(x)
        return [getattr(self, f"norm{i}")(x) if hasattr(self, f"norm{i}") else x for i, x in enumerate(maps)]

    def keep_stages(self, used: Sequence[int]) -> None:
        """Leave out the last norm and layer; the map of each used stage gets a norm of its own.

        As semantic_segmentation/backbone/convnext.py of the official code.
        """
        del self.norm, self.head
        for i in used:
            self.add_module(f"norm{i}", LayerNorm2d(self.stage_widths[i], eps=_EPS))

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, widths[-1]] from images [N, C, H, W], H and W at least 32."""
        return self._pool(self.forward_stages(x)[-1])


class IsotropicConvNeXt(_ConvNeXtClassifier):
    """One resolution and one width throughout, after patches of 16x16 (section 3.3 of the paper).

    Args:
        depth: number of blocks.
        width: channels.
        num_classes: number of logits K.
        in_channels: channels of the input image.
        drop_path: as for `ConvNeXt`.
        layer_scale_init_value: as for `ConvNeXt`; the official commands have it for large, not for small and base.
        head_init_scale: as for `ConvNeXt`.
    """

    smallest_side = 16

    def __init__(
        self,
        depth: int,
        width: int,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        drop_path: float = 0.0,
        layer_scale_init_value: float = 0.0,
        head_init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 16, stride=16)
        rates = _drop_path_rates(drop_path, depth)
        self.blocks = Blocks(*(ConvNeXtBlock(width, rate, layer_scale_init_value) for rate in rates))
        self._add_head(width, num_classes, head_init_scale)

    def block_prefixes(self) -> list[tuple[str, ...]]:
        """The stem, then each block.

        On purpose not the official rule (get_num_layer_for_convnext of optim_factory.py), which gives every parameter
        of an isotropic model the head's id, 13, so that layer decay would do nothing.
        """
        return [("stem.",), *self._children("blocks")]

    def forward_features(self, x: Tensor) -> Tensor:
        """Features [N, width] from images [N, C, H, W], H and W at least 16."""
        self._check_images(x)
        return self._pool(self.blocks(self.stem(x)))


def _init(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.trunc_normal_(layer.weight, std=0.02)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def _drop_path_rates(last: float, depth: int) -> list[float]:
    if not 0 <= last < 1:
        raise ValueError(f"drop_path is a probability: 0 or more and less than 1, not {last}")
    return [last * i / max(1, depth - 1) for i in range(depth)]


MODELS = {
    "convnext_tiny": partial(ConvNeXt, (3, 3, 9, 3), (96, 192, 384, 768)),
    "convnext_small": partial(ConvNeXt, (3, 3, 27, 3), (96, 192, 384, 768)),
    "convnext_base": partial(ConvNeXt, (3, 3, 27, 3), (128, 256, 512, 1024)),
    "convnext_large": partial(ConvNeXt, (3, 3, 27, 3), (192, 384, 768, 1536)),
    "convnext_xlarge": partial(ConvNeXt, (3, 3, 27, 3), (256, 512, 1024, 2048)),
    "convnext_isotropic_small": partial(IsotropicConvNeXt, 18, 384),
    "convnext_isotropic_base": partial(IsotropicConvNeXt, 18, 768),
    "convnext_isotropic_large": partial(IsotropicConvNeXt, 36, 1024, layer_scale_init_value=1e-6),
}
