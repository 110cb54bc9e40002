"""Layers that several families, training and export share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


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
