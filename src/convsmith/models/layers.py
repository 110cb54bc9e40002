"""Layers that several families, training and export share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function_unary


class Normalize(nn.Module):
    """uint8 images to normalised floats: (x / 255 - mean) / std, as one multiplication and one addition.

    It runs on the device in training and inside the exported graph, so images travel as bytes.

    Args:
        mean: per-channel mean of images in 0 to 1.
        std: per-channel standard deviation of images in 0 to 1.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        mean_C, std_C = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", (1 / (255 * std_C)).float().view(1, -1, 1, 1))
        self.register_buffer("shift", (-mean_C / std_C).float().view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Float32 [N, C, H, W] from uint8 [N, C, H, W]."""
        return images.float() * self.scale + self.shift


class AdaptiveAverage(nn.Module):
    """Means of bins x bins areas of a map, as `nn.AdaptiveAvgPool2d`; an exported program takes maps of any size.

    Args:
        bins: areas along each side. Those of a side that `bins` does not divide overlap by a position.
    """

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, bins, bins]."""
        return adaptive_avg_pool2d(x, self.bins)


def adaptive_avg_pool2d(x: Tensor, bins: int) -> Tensor:
    """`F.adaptive_avg_pool2d` that can be exported for any size; what watches functions sees it either way."""
    if has_torch_function_unary(x):
        pooled: Tensor = handle_torch_function(adaptive_avg_pool2d, (x,), x, bins)
        return pooled
    if not torch.compiler.is_exporting():
        return F.adaptive_avg_pool2d(x, bins)
    # ONNX has no such pooling, and torch's export takes areas of fixed sizes only.
    rows, columns = (_area_weights(bins, side, x) for side in x.shape[2:])
    return rows @ x @ columns.T


def _area_weights(bins: int, side: int, like: Tensor) -> Tensor:
    """[bins, side]: row b averages the positions from floor(b * side / bins) to ceil((b + 1) * side / bins)."""
    first = torch.arange(bins, device=like.device)[:, None] * side
    position = torch.arange(side, device=like.device) * bins
    inside = ((position + bins > first) & (position < first + side)).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)


class _Drop(nn.Module):
    """Drops something in training; the identity in evaluation.

    Args:
        drop_prob: probability, 0 to 1; a schedule may set it between steps.
    """

    _drop_prob: Tensor

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        # A tensor, because compiled code would be compiled anew for every value of a plain number.
        self.register_buffer("_drop_prob", torch.zeros(()), persistent=False)
        self.drop_prob = drop_prob

    @property
    def drop_prob(self) -> float:
        """Probability to drop; 0 switches the layer off."""
        return self._given_prob

    @drop_prob.setter
    def drop_prob(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"drop_prob is a probability, 0 to 1, not {value}")
        self._given_prob = value
        self._active = value > 0
        self._drop_prob.fill_(value)

    def extra_repr(self) -> str:
        """The words that `print(model)` shows."""
        return f"drop_prob={self.drop_prob}"


class DropPath(_Drop):
    """Zeroes whole samples in training, and divides the others by the share that is kept.

    Stochastic depth of Huang et al. 2016 (arXiv:1603.09382), by sample as in timm's DropPath.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[N, ...] to the same shape."""
        if not (self.training and self._active):
            return x
        noise = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device)
        kept = noise >= self._drop_prob  # nothing at probability 1, where the clamp keeps zeros from being 0 / 0
        return x * (kept / (1 - self._drop_prob).clamp(min=torch.finfo(torch.float32).tiny)).to(x.dtype)


class DropBlock(_Drop):
    """Zeroes square patches of whole feature maps in training; the identity in evaluation.

    Ghiasi et al. 2018 (arXiv:1810.12890), as in ResNeSt's resnest/gluon/dropblock.py: one mask for the whole batch, one
    scale for all channels. Sizes are those of the tensor, so any input size works.

    Args:
        drop_prob: aimed-at share of dropped values, 0 to 1; a schedule may set it between steps.
        block_size: side of a patch, in positions.
    """

    def __init__(self, drop_prob: float = 0.0, block_size: int = 3) -> None:
        super().__init__(drop_prob)
        self.block_size = block_size

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same."""
        if not (self.training and self._active):
            return x
        return drop_blocks(x, torch.rand(1, *x.shape[1:], device=x.device), self._drop_prob, self.block_size)

    def extra_repr(self) -> str:
        """The words that `print(model)` shows."""
        return f"{super().extra_repr()}, block_size={self.block_size}"


def drop_blocks(x: Tensor, noise: Tensor, drop_prob: float | Tensor, block_size: int) -> Tensor:
    """Zero a patch of `x` around every position where `noise` is small, and scale up what is left.

    Args:
        x: [N, C, H, W].
        noise: uniform in 0 to 1, [1, C, H, W].
        drop_prob: aimed-at share of dropped values. More is dropped on small maps, as in the official code, for which
            patches at the border count as whole ones.
        block_size: side of a patch.
    """
    height, width = x.shape[-2:]
    centres = noise < drop_prob * centre_density(block_size, height, width)
    exact = torch.promote_types(x.dtype, torch.float32)  # bfloat16 cannot count the kept values
    patches = F.max_pool2d(centres.to(exact), block_size, stride=1, padding=block_size // 2)
    kept = 1 - patches[..., :height, :width]  # an even patch grows the map by one
    return x * (kept * (kept.numel() / kept.sum().clamp(min=1))).to(x.dtype)


def centre_density(block_size: int, height: int, width: int) -> float:
    """Share of positions that become a patch's centre, per unit of drop probability (gamma / drop_prob of the paper).

    A map smaller than a patch counts as having room for one.
    """
    inner = max(height - block_size + 1, 1) * max(width - block_size + 1, 1)
    return height * width / block_size**2 / inner


def stage_maps(stages: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    """Apply the stages one after another; the maps that each of them gives, the first for x."""
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return maps
