"""The boxes that random resized crops draw, and how their pixels are resized: torchvision's, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, v2

from convsmith.data.augment.crops import random_resized_crop
from convsmith.data.augment.geometry import Sample, cut, resized
from convsmith.recipe.augmentation import RandomResizedCrop
from convsmith.spec import Size

BILINEAR = InterpolationMode.BILINEAR
EVERY_MODE = [BILINEAR, InterpolationMode.BICUBIC, InterpolationMode.NEAREST_EXACT]


def places(size: Size) -> torch.Tensor:
    """An image whose pixels tell where they are, uint8 [3, H, W]."""
    rows, columns = np.indices(size)
    return torch.from_numpy(np.stack([rows, columns, rows // 256 + columns // 256 * 16])).to(torch.uint8)


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (32, 32), (400, 60), (60, 400), (1, 1)], ids=str)
@pytest.mark.parametrize("crop", [{}, {"scale": (0.5, 1.0), "ratio": (0.9, 2.5)}, {"ratio": (1.0, 1.0)}], ids=str)
def test_a_random_resized_crop_draws_what_torchvisions_does(size: Size, crop: dict[str, Any]) -> None:
    image = places(size)
    recipe = RandomResizedCrop(size=16, **crop)
    draw = random_resized_crop(recipe, (16, 16), InterpolationMode.NEAREST_EXACT, antialias=False)
    official = v2.RandomResizedCrop(16, recipe.scale, recipe.ratio, InterpolationMode.NEAREST_EXACT)
    for seed in range(50):
        torch.manual_seed(seed)
        expected, after = official(image), torch.rand(())
        torch.manual_seed(seed)
        assert torch.equal(draw(size).make(Sample(image, None)).image, expected)
        assert torch.rand(()) == after


@pytest.mark.parametrize("mode", EVERY_MODE, ids=lambda mode: mode.value)
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("channels", [1, 3, 4, 5])
@pytest.mark.parametrize("part", [(30, 40), (30, 17), (9, 40), (1, 1)], ids=str)
def test_a_part_is_resized_as_torchvision_does(
    mode: InterpolationMode, antialias: bool, channels: int, part: Size
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, channels), np.uint8)
    sample = cut(Sample(torch.from_numpy(pixels).permute(2, 0, 1), None), 30 - part[0], 40 - part[1], part)
    for size in ((12, 16), (50, 33)):
        expected = v2.functional.resize(sample.image.contiguous(), list(size), mode, antialias=antialias)
        image = resized(sample, size, mode, antialias).image
        assert torch.equal(image, expected)
        assert image.permute(1, 2, 0).is_contiguous() or channels not in (3, 4)
