"""Augmentation policies: lists of operations on colour and shape, drawn at random for each image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from convsmith.data.augment.resnest_auto_augment import resnest_auto_augment
from convsmith.data.augment.timm_rand_augment import timm_rand_augment
from convsmith.recipe.augmentation import (
    AugMix,
    AutoAugment,
    Policy,
    RandAugment,
    ResNeStAutoAugment,
    TimmRandAugment,
    TrivialAugment,
)
from convsmith.spec import Preprocess, WholeImage


def make_policy(policy: Policy, preprocess: Preprocess | WholeImage) -> Callable[[Tensor], Tensor]:
    """The function that changes an image, uint8 `[3, H, W]`, into another of its size.

    All but those of timm and ResNeSt are torchvision's classes, which fill with black what lies outside the image.

    Args:
        policy: what to do.
        preprocess: gives the mean colour, with which `timm_rand_augment` fills.
    """
    if isinstance(policy, TimmRandAugment):
        return _on_pillow(timm_rand_augment(policy, preprocess.mean))
    if isinstance(policy, ResNeStAutoAugment):
        return _on_pillow(resnest_auto_augment)
    transform = _torchvision(policy)
    # torchvision rotates and shears tensors by nearest and bilinear only.
    return _on_pillow(transform) if policy.interpolation == "bicubic" else transform


def _torchvision(policy: AutoAugment | RandAugment | TrivialAugment | AugMix) -> Callable[[Any], Any]:
    mode = InterpolationMode(policy.interpolation)
    transform: Callable[[Any], Any]
    match policy:
        case AutoAugment():
            transform = v2.AutoAugment(v2.AutoAugmentPolicy(policy.learned_on), mode)
        case RandAugment():
            transform = v2.RandAugment(policy.num_ops, policy.magnitude, interpolation=mode)
        case TrivialAugment():
            transform = v2.TrivialAugmentWide(interpolation=mode)
        case AugMix():
            transform = v2.AugMix(policy.severity, policy.width, alpha=policy.alpha, interpolation=mode)
    return transform


def _on_pillow(transform: Callable[[Image.Image], Image.Image]) -> Callable[[Tensor], Tensor]:
    return lambda image: pil_to_tensor(transform(to_pil_image(image)))
