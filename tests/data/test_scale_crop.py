from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.data.augment.geometry import Sample
from convsmith.data.augment.scale_crop import random_scale, random_scale_crop, size_of_side
from convsmith.recipe.augmentation import RandomScaleCrop
from convsmith.spec import IGNORED, Size

GOLDEN = json.loads((Path(__file__).parents[1] / "goldens/training/seg_scales.json").read_text())


def noise(height: int, width: int) -> Sample:
    """A sample in which no two places look alike, and nothing is black or ignored."""
    pixels = np.random.default_rng(0).integers(1, 255, (4, height, width), dtype=np.uint8)
    return Sample(torch.from_numpy(pixels[:3]), torch.from_numpy(pixels[3]))


def filled(sample: Sample, crop: RandomScaleCrop) -> Size:
    """Height and width of what of a crop is no padding, for a crop that shows the whole image."""
    mask = random_scale_crop(crop)(sample).mask
    assert mask is not None
    inside = mask != IGNORED
    return int(inside.any(dim=1).sum()), int(inside.any(dim=0).sum())


def at_scale(scale: float, size: Size, **keys: Any) -> RandomScaleCrop:
    return RandomScaleCrop(size=size, scale=(scale, scale), **keys)


@pytest.mark.parametrize("case", GOLDEN["resized_sizes"]["cases"], ids=lambda case: f"{case['in']['h']}")
def test_the_longer_side_gets_the_length_and_the_shorter_one_follows(case: dict[str, Any]) -> None:
    height, width, base = case["in"]["h"], case["in"]["w"], case["in"]["base_size"]
    for scale, size in case["out"]["[scale, [new_h, new_w]]"]:
        crop = at_scale(scale, (min(size[0] + 1, 4096), min(size[1] + 1, 4096)), base_size=base)
        assert filled(noise(height, width), crop) == tuple(size)


def test_without_a_base_size_the_scale_is_that_of_the_image_itself() -> None:
    assert filled(noise(20, 30), at_scale(1.5, (64, 64))) == (30, 45)


@pytest.mark.parametrize("case", GOLDEN["training_scales"]["cases"], ids=lambda case: f"{case['in']['SCALE_FACTOR']}")
def test_the_scales_are_the_official_ones_and_equally_likely(case: dict[str, Any]) -> None:
    official = case["out"]["scales, each equally likely"]
    crop = RandomScaleCrop(size=(8, 8), scale=(official[0], official[-1]))
    torch.manual_seed(0)
    drawn = Counter(random_scale(crop) for _ in range(400 * len(official)))
    assert sorted(drawn) == official
    assert all(abs(times - 400) < 5 * 400**0.5 for times in drawn.values())


def test_without_steps_any_scale_of_the_range_comes_and_all_alike() -> None:
    crop = RandomScaleCrop(size=(8, 8), scale=(0.5, 2.0), scale_step=0)
    torch.manual_seed(0)
    drawn = [random_scale(crop) for _ in range(2000)]
    assert len(set(drawn)) == 2000
    counts, _ = np.histogram(drawn, bins=5, range=(0.5, 2.0))
    assert counts.sum() == 2000
    assert (abs(counts - 400) < 5 * 400**0.5).all()


@pytest.mark.parametrize("size", [(20, 30), (30, 20), (7, 90), (100, 1)])
def test_shorter_side_first_is_one_resize_to_the_base_size_and_then_one_to_the_scale(size: Size) -> None:
    sample = noise(*size)
    shorter = size_of_side(size, min(size), 24)
    assert min(shorter) == 24
    first = random_scale_crop(at_scale(1.0, shorter, base_size=max(shorter)))(sample)
    crop = at_scale(0.5, (64, 64), base_size=24)
    expected = random_scale_crop(crop)(first)
    both = random_scale_crop(crop.model_copy(update={"resize_first": "shorter_side"}))(sample)
    assert torch.equal(both.image, expected.image)


def test_warp_first_makes_both_sides_those_of_the_crop() -> None:
    assert filled(noise(20, 30), at_scale(0.5, (40, 24), base_size=40, resize_first="warp")) == (20, 12)
    assert filled(noise(20, 30), at_scale(1.0, (40, 24), base_size=40, resize_first="warp")) == (40, 24)


def test_an_image_smaller_than_the_crop_is_padded_at_the_right_and_at_the_bottom() -> None:
    image, mask = noise(8, 10)
    assert mask is not None
    cropped, moved = random_scale_crop(at_scale(1.0, (12, 16)))(Sample(image, mask))
    assert moved is not None
    assert torch.equal(cropped[:, :8, :10], image)
    assert torch.equal(moved[:8, :10], mask)
    assert not cropped[:, 8:].any()
    assert not cropped[:, :, 10:].any()
    assert (moved[8:] == IGNORED).all()
    assert (moved[:, 10:] == IGNORED).all()


def test_the_crop_lands_everywhere_alike() -> None:
    image, _ = noise(6, 8)
    torch.manual_seed(0)
    crop = random_scale_crop(at_scale(1.0, (4, 5)))
    drawn = Counter(tuple(crop(Sample(image, None)).image.flatten().tolist()) for _ in range(1200))
    places = {
        tuple(image[:, top : top + 4, left : left + 5].flatten().tolist()) for top in range(3) for left in range(4)
    }
    assert set(drawn) == places
    assert all(abs(times - 100) < 5 * 100**0.5 for times in drawn.values())


@pytest.mark.parametrize("scale", [0.5, 0.7, 1.3, 2.1])
def test_an_image_is_resized_between_the_centres_of_its_pixels(scale: float) -> None:
    size = size_of_side((30, 40), 40, round(40 * scale))
    image, _ = random_scale_crop(at_scale(scale, size))(noise(30, 40))
    expected = torch.nn.functional.interpolate(noise(30, 40).image[None].double(), size, mode="bilinear")[0]
    assert (image - expected).abs().max() < 1.01  # rounded to bytes after the columns, and again after the rows


@pytest.mark.parametrize("scale", [0.5, 0.7, 1.3, 2.1])
def test_a_mask_is_resized_by_the_nearest_pixel_as_opencv_rounds_it(scale: float) -> None:
    size = size_of_side((30, 40), 40, round(40 * scale))
    image, mask = noise(30, 40)
    assert mask is not None
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, (30, 40), strict=True))
    resized = random_scale_crop(at_scale(scale, size))(Sample(image, mask)).mask
    assert resized is not None
    assert torch.equal(resized, mask[rows][:, columns])


def test_resizing_has_no_filter() -> None:
    stripes = torch.zeros(3, 64, 64, dtype=torch.uint8)
    stripes[:, :, ::4] = stripes[:, :, 1::4] = 255
    image, _ = random_scale_crop(at_scale(0.25, (16, 16)))(Sample(stripes, None))
    assert set(image.flatten().tolist()) <= {127, 128}  # between the second and the third of four columns


def test_an_image_without_a_mask_is_cropped_likewise() -> None:
    crop = random_scale_crop(RandomScaleCrop(size=(16, 24)))
    torch.manual_seed(0)
    alone = crop(Sample(noise(20, 30).image, None))
    torch.manual_seed(0)
    assert torch.equal(alone.image, crop(noise(20, 30)).image)
    assert alone.mask is None


def test_an_image_that_would_become_huge_is_refused() -> None:
    with pytest.raises(ImageTooLarge, match="its 90000 x 1 pixels would be resized to 90000000 x 1000"):
        random_scale_crop(at_scale(1.0, (8, 8), base_size=1000, resize_first="shorter_side"))(noise(1, 90_000))


def test_a_thread_of_an_image_keeps_a_pixel() -> None:
    assert filled(noise(1, 5000), at_scale(1.0, (16, 16), base_size=10)) == (1, 10)
