"""MixUp and CutMix: each image of a batch is mixed with another one, and so are their labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Beta

from convsmith.devices import ACCELERATORS
from convsmith.recipe.mixing import Mixing

Box = tuple[int, int, int, int]
"""Rows from y1 up to y2 and columns from x1 up to x2: (y1, y2, x1, x2)."""


@dataclass(frozen=True)
class Mix:
    """One way to mix a batch of N.

    Attributes:
        partner: which image each is mixed with: `rolled`, the one before it (torchvision); `reversed`, the one as far
            from the end as it is from the start, so that the middle one of an odd batch meets itself (timm, gluon); or
            int64 [N], such as a permutation (ResNeSt in torch).
        lam: share that an image keeps of itself, 0 to 1.
        box: of CutMix, what comes from the partner; None for MixUp, which adds whole images.
    """

    partner: Literal["rolled", "reversed"] | Tensor
    lam: float
    box: Box | None = None

    def images(self, images: Tensor) -> Tensor:
        """The mixed images, [N, C, H, W] as they were given."""
        if self.box is None:
            return torch.lerp(self._partners(images), images, self.lam)
        y1, y2, x1, x2 = self.box
        mixed = images.clone()
        mixed[..., y1:y2, x1:x2] = self._partners(images[..., y1:y2, x1:x2])
        return mixed

    def labels(self, labels: Tensor) -> Tensor:
        """The mixed labels, [N, K] as they were given; what they sum to stays."""
        return torch.lerp(self._partners(labels), labels, self.lam)

    def _partners(self, batch: Tensor) -> Tensor:
        if isinstance(self.partner, Tensor):
            return batch[self.partner]
        # unlike roll, cat keeps the memory layout on a GPU
        return batch.flip(0) if self.partner == "reversed" else torch.cat([batch[-1:], batch[:-1]])


def draw_mix(mixing: Mixing, images: Tensor) -> Mix | None:
    """How to mix a batch [N, C, H, W], or None where it stays as it is; drawn from torch's CPU generator.

    The choices are timm's (data/mixup.py, mode `batch`): whether to mix, CutMix or MixUp where both are on, then the
    weight from a Beta distribution. torchvision's `RandomChoice` of the two is `probability` 1 and
    `switch_probability` 0.5.
    """
    if torch.rand(()) >= mixing.probability:
        return None
    both = mixing.mixup_alpha > 0 and mixing.cutmix_alpha > 0
    cut = bool(torch.rand(()) < mixing.switch_probability) if both else mixing.cutmix_alpha > 0
    alpha = torch.tensor(mixing.cutmix_alpha if cut else mixing.mixup_alpha, dtype=torch.float64)
    lam = float(Beta(alpha, alpha).sample())
    partner = mixing.partner if mixing.partner != "random" else _permutation(len(images), images.device)
    if not cut:
        return Mix(partner, lam)
    height, width = images.shape[-2:]
    centre_y, centre_x = int(torch.randint(height, ())), int(torch.randint(width, ()))
    box = cutmix_box(height, width, lam, centre_y, centre_x)
    return Mix(partner, kept_share(box, height, width), box)


def _permutation(count: int, device: torch.device) -> Tensor:
    """A permutation of 0 to count - 1, on the device without waiting for it."""
    return torch.randperm(count, pin_memory=ACCELERATORS[device.type].queues).to(device, non_blocking=True)


def cutmix_box(height: int, width: int, lam: float, centre_y: int, centre_x: int) -> Box:
    """The box around a centre that covers 1 - lam of the image, where the image's border does not cut it off.

    As in torchvision and in timm 0.3.2, which ConvNeXt was trained with: an odd side loses a pixel. It may be empty.
    """
    half_height, half_width = (int(side * math.sqrt(1 - lam)) // 2 for side in (height, width))
    rows = max(centre_y - half_height, 0), min(centre_y + half_height, height)
    columns = max(centre_x - half_width, 0), min(centre_x + half_width, width)
    return *rows, *columns


def kept_share(box: Box, height: int, width: int) -> float:
    """Share of the image outside of the box: the weight of its own label."""
    y1, y2, x1, x2 = box
    return 1 - (y2 - y1) * (x2 - x1) / (height * width)
