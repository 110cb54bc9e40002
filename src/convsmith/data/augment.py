"""Random changes to a training image, drawn from torch's default generator: the loader seeds it for every sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from convsmith.bundle.decode import MAX_PIXELS, ImageTooLarge
from convsmith.data.draws import below
from convsmith.data.efficientnet_crop import efficientnet_crop
from convsmith.data.erasing import random_erasing
from convsmith.data.lighting import random_lighting
from convsmith.data.policies import make_policy
from convsmith.recipe.augmentation import Augment, RandomCrop
from convsmith.spec import Interpolation, Preprocess

Transform = Callable[[Tensor], Tensor]

# `nearest` of tensors rounds coordinates otherwise than Pillow, which the validation images are made with.
_MODES: dict[Interpolation, InterpolationMode] = {
    "nearest": InterpolationMode.NEAREST_EXACT,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
}


def train_transform(augment: Augment, preprocess: Preprocess) -> Callable[[NDArray[np.uint8]], Tensor]:
    """The function from a decoded image, uint8 `[H, W, 3]`, to a training image, uint8 `[3, S, S]`.

    Args:
        augment: what happens, in its order; S is `augment.size`.
        preprocess: gives the interpolation of `random_crop`'s resize, and the mean colour and its deviation.

    Raises (the function):
        ImageTooLarge: a strip so long and thin that `random_crop` would make it huge.
    """
    steps = list(_steps(augment, preprocess))

    def transform(pixels: NDArray[np.uint8]) -> Tensor:
        image = torch.from_numpy(pixels).permute(2, 0, 1)  # views, where they do: the batch makes the one copy
        for step in steps:
            image = step(image)
        return image

    return transform


def _steps(augment: Augment, preprocess: Preprocess) -> Iterator[Transform]:
    """What is to be done, in order. Operations on colour go through the image row by row, so it is packed for them."""
    policy = augment.policy
    if policy and policy.before_crop:
        yield torch.Tensor.contiguous
        yield make_policy(policy, preprocess)
    yield _crop(augment, preprocess)
    if augment.hflip:
        yield partial(_flip, -1, augment.hflip)
    if augment.vflip:
        yield partial(_flip, -2, augment.vflip)
    if (policy and not policy.before_crop) or augment.color_jitter:
        yield torch.Tensor.contiguous
    if policy and not policy.before_crop:
        yield make_policy(policy, preprocess)
    if jitter := augment.color_jitter:
        yield v2.ColorJitter(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    if augment.lighting:
        yield random_lighting(augment.lighting)
    if augment.random_erasing:
        yield random_erasing(augment.random_erasing, preprocess)


def _flip(axis: int, probability: float, image: Tensor) -> Tensor:
    return image.flip(axis) if torch.rand(()).item() < probability else image


def _crop(augment: Augment, preprocess: Preprocess) -> Transform:
    if augment.random_crop:
        return partial(_padded_crop, augment.random_crop, _MODES[preprocess.interpolation])
    if augment.efficientnet_crop:
        return efficientnet_crop(augment.efficientnet_crop, _MODES[augment.efficientnet_crop.interpolation])
    crop = augment.random_resized_crop
    assert crop is not None  # the recipe's validator holds it
    mode = _MODES[crop.interpolation]
    resized_crop: Transform = v2.RandomResizedCrop(crop.size, crop.scale, crop.ratio, interpolation=mode)
    return resized_crop


def _padded_crop(crop: RandomCrop, mode: InterpolationMode, image: Tensor) -> Tensor:
    """A square of side `size` at a random place of the image, resized to `size` and padded with black.

    Written with functions: as v2 classes this and the flip take a fifth of the whole time of a 32x32 image.
    """
    size = crop.size
    short, long = sorted(image.shape[1:])
    if size * size * long // short > MAX_PIXELS:
        raise ImageTooLarge(
            "an image is too large", f"resized to {size} on its shorter side it has over {MAX_PIXELS} pixels"
        )
    if short != size:
        image = v2.functional.resize(image, [size], mode, antialias=True)
    if crop.padding:
        image = torch.nn.functional.pad(image, [crop.padding] * 4)
    top, left = (below(side - size + 1) for side in image.shape[1:])
    return image[:, top : top + size, left : left + size]
