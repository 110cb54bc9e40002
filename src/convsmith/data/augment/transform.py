"""Random changes to training images, and to their masks, drawn from torch's default generator.

The loader seeds it for every sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from convsmith.data.augment.crops import DrawCrop, random_crop, random_resized_crop
from convsmith.data.augment.custom import custom_step
from convsmith.data.augment.draws import below, uniform
from convsmith.data.augment.efficientnet_crop import efficientnet_crop
from convsmith.data.augment.erasing import random_erasing
from convsmith.data.augment.geometry import Change, Sample, mirrored, resized
from convsmith.data.augment.lighting import random_lighting
from convsmith.data.augment.policies import make_policy
from convsmith.data.augment.scale_crop import random_scale_crop
from convsmith.recipe.augmentation import Augment
from convsmith.spec import Interpolation, Preprocessing, Size

# `nearest` of tensors rounds coordinates otherwise than Pillow, which the validation images are made with.
_MODES: dict[Interpolation, InterpolationMode] = {
    "nearest": InterpolationMode.NEAREST_EXACT,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
}


def train_transform(augment: Augment, preprocess: Preprocessing) -> Callable[[NDArray[np.uint8]], Tensor]:
    """The function from a decoded image, uint8 `[H, W, 3]`, to a training image, uint8 `[3, h, w]`.

    Args:
        augment: what happens, in its order; h and w are `augment.size`.
        preprocess: gives the interpolation of `random_crop`'s resize, and the mean colour and its deviation.

    Raises (the function):
        ImageTooLarge: a strip so thin that a side of it would become longer than `MAX_PIXELS`.
        CustomFailed: the recipe's own function fails, or cannot be found.
    """
    steps = list(_steps(augment, preprocess))
    return lambda pixels: _augmented(steps, pixels, None).image


def drawn_transform(
    augment: Augment, preprocess: Preprocessing
) -> Callable[[Size], tuple[Size, Callable[[NDArray[np.uint8]], Tensor]]]:
    """`train_transform` in two parts, so that an image may be decoded as small as its crop allows.

    The first takes the height and width of a whole image, and returns the `least` size of its crop, and the second,
    which takes the image in that size, or a larger one. The crop must be the first step: no policy is before it.
    """
    draw = _draw_crop(augment, preprocess)
    _, *others = _steps(augment, preprocess)

    def begin(whole: Size) -> tuple[Size, Callable[[NDArray[np.uint8]], Tensor]]:
        crop = draw(whole)
        return crop.least, lambda pixels: _augmented([crop.make, *others], pixels, None).image

    return begin


def resized_first(pixels: NDArray[np.uint8], augment: Augment, preprocess: Preprocessing) -> NDArray[np.uint8]:
    """An image, uint8 `[H, W, 3]`, resized as far as that comes first, and makes it smaller: what follows is the same.

    Only `random_crop` resizes a whole image to a size that is not random.
    """
    if augment.random_crop is None or (augment.policy and augment.policy.before_crop):
        return pixels
    height, width = (augment.random_crop.size * side // min(pixels.shape[:2]) for side in pixels.shape[:2])
    if height * width >= pixels.shape[0] * pixels.shape[1]:
        return pixels
    whole = Sample(torch.from_numpy(pixels).permute(2, 0, 1), None)
    smaller = resized(whole, (height, width), _MODES[preprocess.interpolation], preprocess.filtered)
    return smaller.image.permute(1, 2, 0).numpy()


def pair_transform(
    augment: Augment, preprocess: Preprocessing
) -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], tuple[Tensor, Tensor]]:
    """The function from a decoded image and its mask, uint8 `[H, W, 3]` and `[H, W]`, to those of training.

    They are uint8 `[3, h, w]` and `[h', w']`. Whatever moves the image moves the mask. What lies outside the image
    is black, and `IGNORED` in the mask. As in validation, images are resized without a filter; masks by nearest.

    Args:
        augment: what happens, in its order; h and w are `augment.size`, h' and w' `augment.mask_size`. There is no
            policy, random_erasing or efficientnet_crop: they change images alone.
        preprocess: gives the classes that change places in a mirrored image, be it mirrored left to right or upside
            down: either makes a left arm a right one.

    Raises (the function):
        ImageTooLarge: a strip so thin that a side of it would become longer than `MAX_PIXELS`.
        CustomFailed: the recipe's own function fails, or cannot be found.
    """
    of_images_alone = (augment.policy, augment.random_erasing, augment.efficientnet_crop)
    assert not any(of_images_alone)  # the recipe's validator holds it
    steps = list(_steps(augment, preprocess))

    def transform(pixels: NDArray[np.uint8], values: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        assert pixels.shape[:2] == values.shape
        image, mask = _augmented(steps, pixels, values)
        assert mask is not None
        return image, v2.functional.resize_mask(mask, list(augment.mask_size))

    return transform


def _augmented(steps: list[Change], pixels: NDArray[np.uint8], values: NDArray[np.uint8] | None) -> Sample:
    # Views, where they do: the batch makes the one copy.
    sample = Sample(torch.from_numpy(pixels).permute(2, 0, 1), None if values is None else torch.from_numpy(values))
    for step in steps:
        sample = step(sample)
    return sample


def _steps(augment: Augment, preprocess: Preprocessing) -> Iterator[Change]:
    """The steps, in order. Operations on colour go through the image row by row, so it is packed for them."""
    policy = augment.policy
    if policy and policy.before_crop:
        yield _on_image(torch.Tensor.contiguous)
        yield _on_image(make_policy(policy, preprocess))
    yield _crop(augment, preprocess)
    if augment.hflip:
        yield _flip(-1, augment.hflip, preprocess)
    if augment.vflip:
        yield _flip(-2, augment.vflip, preprocess)
    if (policy and not policy.before_crop) or augment.color_jitter:
        yield _on_image(torch.Tensor.contiguous)
    if policy and not policy.before_crop:
        yield _on_image(make_policy(policy, preprocess))
    if jitter := augment.color_jitter:
        yield _on_image(v2.ColorJitter(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue))
    if augment.lighting:
        yield _on_image(random_lighting(augment.lighting))
    if augment.brightness_shift:
        yield _on_image(partial(_brightness_shift, augment.brightness_shift))
    if augment.custom:
        yield custom_step(augment.custom)
    if augment.random_erasing:
        yield _on_image(random_erasing(augment.random_erasing, preprocess))


def _on_image(change: Callable[[Tensor], Tensor]) -> Change:
    """A step that leaves the mask as it is, because pixels keep their places."""
    return lambda sample: Sample(change(sample.image), sample.mask)


def _brightness_shift(largest: int, image: Tensor) -> Tensor:
    """Half of the images plus a whole number from `-largest` to `largest`, cut off at 0 and 255."""
    if uniform() < 0.5:
        return image
    return (image.to(torch.int16) + (below(2 * largest + 1) - largest)).clamp_(0, 255).to(torch.uint8)


def _flip(axis: int, probability: float, preprocess: Preprocessing) -> Change:
    classes = None
    if preprocess.mirrored_classes:
        classes = torch.arange(256, dtype=torch.uint8)
        for one, other in preprocess.mirrored_classes:
            classes[one], classes[other] = other, one
    return lambda sample: mirrored(sample, axis, classes) if torch.rand(()).item() < probability else sample


def _crop(augment: Augment, preprocess: Preprocessing) -> Change:
    if augment.random_scale_crop:
        return random_scale_crop(augment.random_scale_crop)
    draw = _draw_crop(augment, preprocess)
    return lambda sample: draw(sample.size).make(sample)


def _draw_crop(augment: Augment, preprocess: Preprocessing) -> DrawCrop:
    if augment.random_crop:
        return random_crop(augment.random_crop, _MODES[preprocess.interpolation], preprocess.filtered)
    if crop := augment.efficientnet_crop:
        return efficientnet_crop(crop, _MODES[crop.interpolation])
    resized_crop = augment.random_resized_crop
    assert resized_crop is not None  # the recipe's validator holds it
    return random_resized_crop(resized_crop, augment.size, _MODES[resized_crop.interpolation], preprocess.filtered)
