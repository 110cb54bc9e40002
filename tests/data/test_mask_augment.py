"""Image and mask of one sample, augmented together."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from convsmith.data.augment.transform import pair_transform
from convsmith.recipe.augmentation import Augment, ColorJitter, RandomCrop, RandomResizedCrop, RandomScaleCrop
from convsmith.spec import IGNORED, Size, WholeImage

# A colour for each class, so that an image shows its mask; what is ignored is black, as padding is.
COLOURS = np.random.default_rng(0).permutation(np.arange(3 * 256) % 255 + 1).astype(np.uint8).reshape(256, 3)
COLOURS[IGNORED] = 0
ONE_TO_ONE = RandomScaleCrop(size=(8, 8), scale=(1.0, 1.0))


def noise(height: int, width: int) -> NDArray[np.uint8]:
    """A mask in which no two places look alike, and nothing is ignored."""
    return np.random.default_rng(height * width).integers(0, IGNORED, (height, width), dtype=np.uint8)


def augmented(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    augment: Augment,
    seed: int = 0,
    pairs: tuple[tuple[int, int], ...] = (),
) -> tuple[Tensor, Tensor]:
    torch.default_generator.manual_seed(seed)
    return pair_transform(augment, WholeImage(method="whole", mirrored_classes=pairs))(image, mask)


def colours(mask: Tensor) -> Tensor:
    """The image `[3, H, W]` that shows a mask `[H, W]`."""
    return torch.from_numpy(COLOURS[mask.numpy()]).permute(2, 0, 1)


SHAPES = st.tuples(st.integers(1, 60), st.integers(1, 60))
SIZES = st.tuples(st.integers(24, 40), st.integers(24, 40))
SCALE_CROPS = st.builds(
    RandomScaleCrop,
    size=SIZES,
    base_size=st.integers(24, 40),
    scale=st.sampled_from([(0.5, 1.6), (0.5, 2.1), (1.0, 1.0)]),
    scale_step=st.sampled_from([0.0, 0.1]),
    resize_first=st.sampled_from([None, "shorter_side", "warp"]),
)
CROPS = st.one_of(
    st.fixed_dictionaries({"random_scale_crop": SCALE_CROPS}),
    st.fixed_dictionaries({"random_crop": st.builds(RandomCrop, size=st.integers(24, 40), padding=st.integers(0, 30))}),
    st.fixed_dictionaries({"random_resized_crop": st.builds(RandomResizedCrop, size=st.integers(24, 40))}),
)
FLIPS = st.fixed_dictionaries({"hflip": st.sampled_from([0.0, 0.5, 1.0]), "vflip": st.sampled_from([0.0, 0.5, 1.0])})
AUGMENTS = st.builds(lambda crop, flips: Augment(**crop, **flips), CROPS, FLIPS)
SEEDS = st.integers(0, 2**63)


@given(SHAPES, AUGMENTS, SEEDS)
def test_a_pixel_of_the_mask_is_from_where_that_of_the_image_is(shape: Size, augment: Augment, seed: int) -> None:
    """The image tells its rows (red / 4) and columns (green / 4), a mask its rows and another its columns."""
    places = np.indices(shape, np.uint8)
    pixels = np.stack([4 * places[0], 4 * places[1], places[0]], axis=-1)
    for axis in (0, 1):
        image, mask = augmented(pixels, places[axis], augment, seed)
        seen, inside = image[axis].double().numpy() / 4, mask.numpy() != IGNORED
        steps = np.diff(np.where(inside, seen, np.nan), axis=axis)
        output_pixel = np.nan_to_num(np.abs(steps)).max(initial=0)
        assert np.abs(seen - mask.numpy())[inside].max(initial=0) <= output_pixel + 2


@given(SHAPES, FLIPS, SIZES, SEEDS)
def test_where_nothing_is_resized_every_pixel_of_the_mask_is_the_images(
    shape: Size, flips: dict[str, Any], size: Size, seed: int
) -> None:
    crop = RandomScaleCrop(size=size, scale=(1.0, 1.0))
    image, mask = augmented(COLOURS[noise(*shape)], noise(*shape), Augment(random_scale_crop=crop, **flips), seed)
    assert torch.equal(image, colours(mask))


@given(st.integers(24, 40), st.integers(0, 30), FLIPS, SEEDS)
def test_a_padded_square_is_padded_alike_in_image_and_mask(
    side: int, padding: int, flips: dict[str, Any], seed: int
) -> None:
    augment = Augment(random_crop=RandomCrop(size=side, padding=padding), **flips)
    image, mask = augmented(COLOURS[noise(side, 50)], noise(side, 50), augment, seed)
    assert torch.equal(image, colours(mask))


@given(SHAPES, AUGMENTS, SEEDS)
def test_ignored_is_what_is_no_image_and_only_that(shape: Size, augment: Augment, seed: int) -> None:
    image, mask = augmented(COLOURS[noise(*shape)], noise(*shape), augment, seed)
    assert torch.equal(mask == IGNORED, (image == 0).all(dim=0))


@given(SHAPES, AUGMENTS, SEEDS)
def test_any_image_becomes_one_of_the_size_of_the_recipe(shape: Size, augment: Augment, seed: int) -> None:
    image, mask = augmented(COLOURS[noise(*shape)], noise(*shape), augment, seed)
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, *augment.size))
    assert (mask.dtype, tuple(mask.shape)) == (torch.uint8, augment.size)


@given(SHAPES, AUGMENTS, SEEDS)
def test_a_mask_gets_no_new_classes(shape: Size, augment: Augment, seed: int) -> None:
    _, mask = augmented(COLOURS[noise(*shape)], noise(*shape), augment, seed)
    assert set(mask.flatten().tolist()) <= {*noise(*shape).flatten().tolist(), IGNORED}


COLOUR: dict[str, Any] = {
    "color_jitter": ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "lighting": 0.1,
    "brightness_shift": 10,
}


@pytest.mark.parametrize("seed", range(5))
def test_operations_on_colour_leave_the_mask_as_it_is(seed: int) -> None:
    crop: dict[str, Any] = {"random_scale_crop": RandomScaleCrop(size=(24, 32)), "hflip": 0.5}
    plain = augmented(COLOURS[noise(40, 50)], noise(40, 50), Augment(**crop), seed)
    coloured = augmented(COLOURS[noise(40, 50)], noise(40, 50), Augment(**crop, **COLOUR), seed)
    assert torch.equal(plain[1], coloured[1])
    assert not torch.equal(plain[0], coloured[0])


@pytest.mark.parametrize(
    "crop",
    [
        {"random_crop": RandomCrop(size=16)},
        {"random_resized_crop": RandomResizedCrop(size=16, scale=(1.0, 1.0), ratio=(1.0, 1.0))},
    ],
    ids=["random_crop", "random_resized_crop"],
)
def test_images_are_resized_without_a_filter_as_in_validation(crop: dict[str, Any]) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 255
    image, mask = augmented(stripes, np.zeros((64, 64), np.uint8), Augment(**crop))
    assert set(image[:, mask == 0].flatten().tolist()) <= {127, 128}  # between the second and the third of four columns


# Classes that change places

PAIRS = ((14, 15), (16, 17), (18, 19))


def lip(**flips: Any) -> Tensor:
    """The mask of all of LIP's classes in a row, flipped, and its row mirrored back where it was mirrored."""
    classes = np.arange(20, dtype=np.uint8)[None].repeat(20, 0)
    augment = Augment(random_crop=RandomCrop(size=20, padding=0), **flips)
    _, mask = augmented(COLOURS[classes], classes, augment, pairs=PAIRS)
    return mask[0].flip(0) if flips.get("hflip") else mask[0]


SWAPPED = [*range(14), 15, 14, 17, 16, 19, 18]


@pytest.mark.parametrize(
    ("flips", "classes"),
    [
        ({}, [*range(20)]),
        ({"hflip": 1.0}, SWAPPED),
        ({"vflip": 1.0}, SWAPPED),
        ({"hflip": 1.0, "vflip": 1.0}, [*range(20)]),
    ],
    ids=["as it is", "left to right", "upside down", "turned by half a circle"],
)
def test_left_and_right_change_places_in_a_mirrored_image(flips: dict[str, Any], classes: list[int]) -> None:
    assert lip(**flips).tolist() == classes


def test_a_mirrored_image_still_shows_its_mask() -> None:
    image, mask = augmented(COLOURS[noise(8, 8)], noise(8, 8), Augment(random_scale_crop=ONE_TO_ONE, hflip=1), 0, PAIRS)
    swapped = noise(8, 8)
    for one, other in PAIRS:
        swapped[noise(8, 8) == one], swapped[noise(8, 8) == other] = other, one
    assert torch.equal(mask, torch.from_numpy(swapped).flip(1))
    assert torch.equal(image, colours(torch.from_numpy(noise(8, 8)).flip(1)))


# Brightness


def shifts(value: int, largest: int, seeds: int) -> Counter[int]:
    """How often an image of one value becomes brighter by how much."""
    image = np.full((8, 8, 3), value, np.uint8)
    augment = Augment(random_scale_crop=ONE_TO_ONE, brightness_shift=largest)
    found = [augmented(image, noise(8, 8), augment, seed)[0].flatten().tolist() for seed in range(seeds)]
    assert all(len(set(values)) == 1 for values in found)
    return Counter(values[0] - value for values in found)


def test_brightness_shifts_half_of_the_images_by_a_whole_number_each_as_often() -> None:
    found = shifts(100, 3, 1400)
    assert sorted(found) == [-3, -2, -1, 0, 1, 2, 3]
    assert abs(found.pop(0) - 800) < 5 * 350**0.5
    assert all(abs(times - 100) < 5 * 100**0.5 for times in found.values())


@pytest.mark.parametrize(("value", "expected"), [(2, range(-2, 11)), (250, range(-10, 6))])
def test_brightness_is_cut_off_at_black_and_white(value: int, expected: range) -> None:
    assert sorted(shifts(value, 10, 400)) == [*expected]


# The mask's own size


@pytest.mark.parametrize("rate", [0.5, 0.25])
def test_a_smaller_mask_has_each_nth_pixel(rate: float) -> None:
    augment = Augment(random_scale_crop=ONE_TO_ONE)
    _, whole = augmented(COLOURS[noise(8, 8)], noise(8, 8), augment)
    smaller = augment.model_copy(update={"mask_downsample_rate": rate})
    image, mask = augmented(COLOURS[noise(8, 8)], noise(8, 8), smaller)
    assert torch.equal(mask, whole[:: int(1 / rate), :: int(1 / rate)])
    assert tuple(image.shape) == (3, 8, 8)


@given(SIZES, st.floats(0.01, 1.0))
def test_a_smaller_mask_has_the_size_that_the_recipe_says(size: Size, rate: float) -> None:
    augment = Augment(random_scale_crop=RandomScaleCrop(size=size), mask_downsample_rate=rate)
    _, mask = augmented(COLOURS[noise(20, 30)], noise(20, 30), augment)
    assert tuple(mask.shape) == augment.mask_size


# Randomness

ALL = Augment(
    random_scale_crop=RandomScaleCrop(size=(24, 32), base_size=40, resize_first="shorter_side"),
    hflip=0.5,
    vflip=0.5,
    **COLOUR,
)


def test_the_seed_of_the_default_generator_says_it_all() -> None:
    first = augmented(COLOURS[noise(40, 50)], noise(40, 50), ALL, 1)
    random.seed(9)
    np.random.seed(9)
    again = augmented(COLOURS[noise(40, 50)], noise(40, 50), ALL, 1)
    other = augmented(COLOURS[noise(40, 50)], noise(40, 50), ALL, 2)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_what_was_decoded_stays_as_it_was() -> None:
    pixels, mask = COLOURS[noise(8, 8)], noise(8, 8)
    augmented(pixels, mask, Augment(random_scale_crop=ONE_TO_ONE, hflip=1.0, **COLOUR), 0, PAIRS)
    assert (mask == noise(8, 8)).all()
    assert (pixels == COLOURS[noise(8, 8)]).all()
