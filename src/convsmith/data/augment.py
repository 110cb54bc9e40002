"""Random changes to a training image, drawn from torch's default generator: the loader seeds it for every sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from convsmith.bundle.decode import MAX_PIXELS, ImageTooLarge
from convsmith.recipe.augmentation import Augment, RandomCrop
from convsmith.spec import Interpolation, Preprocess

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
        preprocess: gives the interpolation of `random_crop`'s resize.

    Raises (the function):
        ImageTooLarge: a strip so long and thin that `random_crop` would make it huge.
    """
    crop = _resized_crop(augment) if augment.random_crop is None else _padded_crop(augment.random_crop, preprocess)

    def transform(image: NDArray[np.uint8]) -> Tensor:
        cropped = crop(torch.from_numpy(image).permute(2, 0, 1))  # views up to here: the batch makes the one copy
        return cropped.flip(-1) if augment.hflip and torch.rand(()).item() < augment.hflip else cropped

    return transform


def _resized_crop(augment: Augment) -> Callable[[Tensor], Tensor]:
    crop = augment.random_resized_crop
    assert crop is not None  # the recipe's validator holds it
    mode = _MODES[crop.interpolation]
    resized_crop: Callable[[Tensor], Tensor] = v2.RandomResizedCrop(
        crop.size, crop.scale, crop.ratio, interpolation=mode, antialias=True
    )
    return resized_crop


def _padded_crop(crop: RandomCrop, preprocess: Preprocess) -> Callable[[Tensor], Tensor]:
    """A square of side `size` at a random place of the image, resized to `size` and padded with black.

    Written with functions: as v2 classes this and the flip take a fifth of the whole time of a 32x32 image.
    """
    size, padding, mode = crop.size, crop.padding, _MODES[preprocess.interpolation]

    def transform(image: Tensor) -> Tensor:
        short, long = sorted(image.shape[1:])
        if size * size * long // short > MAX_PIXELS:
            raise ImageTooLarge(
                "an image is too large", f"resized to {size} on its shorter side it has over {MAX_PIXELS} pixels"
            )
        if short != size:
            image = v2.functional.resize(image, [size], mode, antialias=True)
        if padding:
            image = torch.nn.functional.pad(image, [padding] * 4)
        top, left = (_below(side - size + 1) for side in image.shape[1:])
        return image[:, top : top + size, left : left + size]

    return transform


def _below(bound: int) -> int:
    """A random integer from 0 to `bound` - 1."""
    return int(torch.randint(bound, ()).item())
