"""Noise along the principal components of ImageNet's colours (Krizhevsky et al. 2012, AlexNet)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# In bytes, as in MXNet's RandomLighting, which ResNeSt was trained with: a row for each of red, green and blue.
EIGENVALUES = torch.tensor([55.46, 4.794, 1.148])
EIGENVECTORS = torch.tensor([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


def random_lighting(std: float) -> Callable[[Tensor], Tensor]:
    """The function that shifts an image, uint8 `[3, H, W]`, by a random colour: `lit` with alpha from N(0, std)."""
    return lambda image: lit(image, torch.randn(3) * std)


def lit(image: Tensor, alpha: Tensor) -> Tensor:
    """An image, uint8 `[3, H, W]`, plus `alpha` (`[3]`) times the components; cut off at 0 and 255, then truncated."""
    shift = EIGENVECTORS @ (EIGENVALUES * alpha)
    return (image + shift[:, None, None]).clamp(0, 255).to(torch.uint8)
