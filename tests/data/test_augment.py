from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.data.augment.erasing import random_erasing
from convsmith.data.augment.lighting import lit
from convsmith.data.augment.transform import train_transform
from convsmith.recipe.augmentation import (
    Augment,
    ColorJitter,
    EfficientNetCrop,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    RandomScaleCrop,
    TrivialAugment,
)
from convsmith.spec import Interpolation, Preprocess


def noise(height: int, width: int) -> NDArray[np.uint8]:
    """An image in which no two places look alike."""
    return np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)


def augmented(image: NDArray[np.uint8], augment: Augment, seed: int = 0, resize: Interpolation = "bilinear") -> Tensor:
    torch.default_generator.manual_seed(seed)
    return train_transform(augment, Preprocess(resize=8, crop=8, interpolation=resize))(image)


def offset(crop: Tensor, of: NDArray[np.uint8]) -> tuple[int, int]:
    """Where in an image `[H, W, 3]` the crop `[3, S, S]` was taken."""
    side = crop.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(of, (side, side), axis=(0, 1))
    ((top, left),) = np.argwhere((windows == crop.numpy()).all(axis=(2, 3, 4)))
    return int(top), int(left)


def cropping(size: int, padding: int, hflip: float = 0.0) -> Augment:
    return Augment(random_crop=RandomCrop(size=size, padding=padding), hflip=hflip)


AUGMENTS = [cropping(16, 2, 0.5), Augment(random_resized_crop=RandomResizedCrop(size=16), hflip=0.5)]


@pytest.mark.parametrize("augment", AUGMENTS, ids=["random_crop", "random_resized_crop"])
@pytest.mark.parametrize("shape", [(16, 16), (5, 40), (40, 5), (1, 1), (50, 41)])
def test_any_image_becomes_a_uint8_square(augment: Augment, shape: tuple[int, int]) -> None:
    image = augmented(noise(*shape), augment)
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 16, 16))


@pytest.mark.parametrize("augment", AUGMENTS, ids=["random_crop", "random_resized_crop"])
def test_the_seed_of_the_default_generator_says_it_all(augment: Augment) -> None:
    first, again, other = (augmented(noise(30, 30), augment, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_random_crop_without_padding_keeps_an_image_of_its_size() -> None:
    image = noise(8, 8)
    assert offset(augmented(image, cropping(8, 0)), image) == (0, 0)


def test_random_crop_reaches_every_place_of_the_image_padded_with_black() -> None:
    image = noise(8, 8)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    places = {offset(augmented(image, cropping(8, 1), seed), padded) for seed in range(200)}
    assert places == {(top, left) for top in range(3) for left in range(3)}


def test_random_crop_lands_anywhere_along_the_longer_side() -> None:
    image = noise(8, 12)
    assert {offset(augmented(image, cropping(8, 0), seed), image) for seed in range(200)} == {(0, i) for i in range(5)}


@pytest.mark.parametrize(
    ("mode", "resampling", "tolerance"),
    [
        ("nearest", Image.Resampling.NEAREST, 0),
        ("bilinear", Image.Resampling.BILINEAR, 2),
        ("bicubic", Image.Resampling.BICUBIC, 2),
    ],
)
@pytest.mark.parametrize("shape", [(8, 8), (40, 50), (31, 17)])
def test_random_crop_first_resizes_the_shorter_side_as_validation_does(
    mode: Interpolation, resampling: Image.Resampling, tolerance: int, shape: tuple[int, int]
) -> None:
    image = noise(*shape)
    size = (16, 16 * shape[0] // shape[1]) if shape[1] <= shape[0] else (16 * shape[1] // shape[0], 16)
    expected = np.asarray(Image.fromarray(image).resize(size, resampling)).astype(int)
    crop = augmented(image, cropping(16, 0), resize=mode).numpy().transpose(1, 2, 0).astype(int)
    windows = [
        expected[top : top + 16, left : left + 16] for top in range(size[1] - 15) for left in range(size[0] - 15)
    ]
    assert min(np.abs(crop - window).max() for window in windows) <= tolerance


def test_random_crop_refuses_a_strip_that_would_become_huge() -> None:
    with pytest.raises(ImageTooLarge):
        augmented(noise(1, 100_000), cropping(1000, 0))


def test_random_resized_crop_of_a_quarter_of_the_area_is_a_window_of_half_the_side() -> None:
    crop = RandomResizedCrop(size=8, scale=(0.25, 0.25), ratio=(1.0, 1.0))
    image = noise(16, 16)
    places = {offset(augmented(image, Augment(random_resized_crop=crop), seed), image) for seed in range(100)}
    assert {top for top, _ in places} == {left for _, left in places} == set(range(9))


def test_random_resized_crop_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = RandomResizedCrop(size=8, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    inner = augmented(stripes, Augment(random_resized_crop=crop))[:, :, 1:-1]
    assert (inner.float() - 127.5).abs().max() < 10


@pytest.mark.parametrize(("probability", "flips"), [(0.0, {False}), (0.5, {False, True}), (1.0, {True})])
def test_hflip_mirrors_left_and_right_with_its_probability(probability: float, flips: set[bool]) -> None:
    image = noise(8, 8)
    straight = torch.from_numpy(image).permute(2, 0, 1)
    crops = [augmented(image, cropping(8, 0, probability), seed) for seed in range(50)]
    assert {torch.equal(crop, straight.flip(-1)) for crop in crops} == flips
    assert {torch.equal(crop, straight) for crop in crops} == {not flip for flip in flips}


@pytest.mark.parametrize(("probability", "flips"), [(0.0, {False}), (0.5, {False, True}), (1.0, {True})])
def test_vflip_turns_upside_down_with_its_probability(probability: float, flips: set[bool]) -> None:
    image = noise(8, 8)
    straight = torch.from_numpy(image).permute(2, 0, 1)
    augment = Augment(random_crop=RandomCrop(size=8, padding=0), vflip=probability)
    crops = [augmented(image, augment, seed) for seed in range(50)]
    assert {torch.equal(crop, straight.flip(-2)) for crop in crops} == flips
    assert {torch.equal(crop, straight) for crop in crops} == {not flip for flip in flips}


# All steps together

CROP = RandomResizedCrop(size=16)
JITTER = ColorJitter(brightness=0.4, contrast=0.3, saturation=0.2, hue=0.1)
TRIVIAL = TrivialAugment(name="trivial_augment")
ALL = Augment(
    random_resized_crop=CROP,
    hflip=0.5,
    vflip=0.5,
    policy=TRIVIAL,
    color_jitter=JITTER,
    lighting=0.1,
    random_erasing=RandomErasing(probability=0.5, value="noise"),
)


def official_steps() -> list[Callable[[Tensor], Tensor]]:
    bilinear = InterpolationMode.BILINEAR
    return [
        v2.RandomResizedCrop(16),
        v2.RandomHorizontalFlip(0.5),
        v2.RandomVerticalFlip(0.5),
        v2.TrivialAugmentWide(interpolation=bilinear),
        v2.ColorJitter(0.4, 0.3, 0.2, 0.1),
        lambda image: lit(image, torch.randn(3) * 0.1),
        random_erasing(RandomErasing(probability=0.5, value="noise"), Preprocess(resize=8, crop=8)),
    ]


@pytest.mark.parametrize("before_crop", [False, True])
def test_the_steps_are_torchvisions_in_the_order_of_the_recipe(before_crop: bool) -> None:
    steps = official_steps()
    if before_crop:
        steps.insert(0, steps.pop(3))
    policy = TrivialAugment(name="trivial_augment", before_crop=before_crop)
    augment = ALL.model_copy(update={"policy": policy})
    for seed in range(50):
        torch.manual_seed(seed)
        expected = torch.from_numpy(noise(20, 30)).permute(2, 0, 1)
        for step in steps:
            expected = step(expected)
        # The layout in memory may change the last bit of a mean.
        assert (augmented(noise(20, 30), augment, seed).int() - expected.int()).abs().max() <= 1


def test_torchvisions_reference_preset_gives_the_same_images_up_to_a_byte() -> None:
    preset = v2.Compose(
        [
            v2.RandomResizedCrop(16),
            v2.RandomHorizontalFlip(0.5),
            v2.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            v2.RandomErasing(0.5),
        ]
    )
    erasing = RandomErasing(probability=0.5)
    augment = Augment(random_resized_crop=CROP, hflip=0.5, policy=TRIVIAL, random_erasing=erasing)
    for seed in range(50):
        ours = preset.transforms[4](preset.transforms[3](augmented(noise(20, 30), augment, seed)))
        torch.manual_seed(seed)
        official = preset(torch.from_numpy(noise(20, 30)).permute(2, 0, 1))
        assert (ours - official).abs().max() <= 1.5 / 255 / 0.224


@pytest.mark.parametrize("shape", [(16, 16), (5, 40), (1, 1), (50, 41)])
@pytest.mark.parametrize("crop", ["random_resized_crop", "efficientnet_crop", "random_crop", "random_scale_crop"])
def test_any_image_passes_all_steps(crop: str, shape: tuple[int, int]) -> None:
    sections: dict[str, Any] = {
        "random_resized_crop": CROP,
        "efficientnet_crop": EfficientNetCrop(size=16),
        "random_crop": RandomCrop(size=16),
        "random_scale_crop": RandomScaleCrop(size=(16, 16)),
    }
    augment = Augment(**(dict(ALL) | dict.fromkeys(sections) | {crop: sections[crop], "brightness_shift": 10}))
    for seed in range(5):
        image = augmented(noise(*shape), augment, seed)
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 16, 16))


def test_all_steps_draw_from_the_default_generator_alone() -> None:
    first = augmented(noise(30, 30), ALL, 3)
    random.seed(9)
    np.random.seed(9)
    assert torch.equal(augmented(noise(30, 30), ALL, 3), first)


def test_a_policy_before_the_crop_sees_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def note(image: Tensor) -> Tensor:
        seen.append(tuple(image.shape))
        return image

    monkeypatch.setattr("convsmith.data.augment.transform.make_policy", lambda *_: note)
    for before_crop in (True, False):
        policy = TrivialAugment(name="trivial_augment", before_crop=before_crop)
        augmented(noise(20, 30), Augment(random_resized_crop=CROP, policy=policy))
    assert seen == [(3, 20, 30), (3, 16, 16)]


def test_the_decoded_image_stays_as_it_was() -> None:
    image = noise(16, 16)
    augmented(
        image, ALL.model_copy(update={"random_resized_crop": None, "random_crop": RandomCrop(size=16, padding=0)})
    )
    assert (image == noise(16, 16)).all()
