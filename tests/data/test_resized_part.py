"""A part of a resized sample is that part of the resized sample, byte for byte."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode

from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.data.augment import resized_part as module
from convsmith.data.augment.geometry import Box, Sample, cut, padded, resized
from convsmith.data.augment.resized_part import resized_part
from convsmith.spec import Size

BILINEAR = InterpolationMode.BILINEAR
WAYS = [
    (BILINEAR, False),  # of segmentation
    (BILINEAR, True),
    (InterpolationMode.BICUBIC, True),
    (InterpolationMode.NEAREST_EXACT, False),
]
SIDES = st.one_of(st.integers(1, 9), st.integers(1, 90), st.sampled_from([255, 256, 257]))
SIZES = st.tuples(SIDES, SIDES)


def noise(size: Size) -> Sample:
    """A sample as a decoder gives it: the channels of a pixel are neighbours in memory."""
    pixels = np.random.default_rng(size[0]).integers(0, 256, (*size, 4), dtype=np.uint8)
    image = torch.from_numpy(pixels[..., :3].copy())
    return Sample(image.permute(2, 0, 1), torch.from_numpy(pixels[..., 3].copy()))


def part_of_whole(sample: Sample, sizes: list[Size], box: Box, way: tuple[InterpolationMode, bool]) -> Sample:
    """All of it resized, with a wide border around it, and then cut."""
    for size in sizes:
        sample = resized(sample, size, *way)
    border = 20 + max(box.height, box.width) + max(sample.size)
    around = padded(sample, border, border, border, border)
    return cut(around, box.top + border, box.left + border, (box.height, box.width))


@given(data=st.data(), size=SIZES, sizes=st.lists(SIZES, min_size=1, max_size=2), way=st.sampled_from(WAYS))
def test_a_part_has_the_bytes_it_has_in_the_whole(
    data: st.DataObject, size: Size, sizes: list[Size], way: tuple[InterpolationMode, bool]
) -> None:
    """Of images and masks; inside, at the borders and beyond; at once, in one piece and in strips."""
    spans = [(data.draw(st.integers(-9, side + 9)), data.draw(st.integers(1, 2 * side))) for side in sizes[-1]]
    box = Box(spans[0][0], spans[1][0], spans[0][1], spans[1][1])
    strip, worth = data.draw(st.sampled_from([2**22, 1000, 1])), data.draw(st.sampled_from([0, 4]))
    with patch.object(module, "_STRIP", strip), patch.object(module, "_WORTH", worth):
        part = resized_part(noise(size), sizes, box, *way)
    expected = part_of_whole(noise(size), sizes, box, way)
    assert torch.equal(part.image, expected.image)
    assert part.mask is not None
    assert expected.mask is not None
    assert torch.equal(part.mask, expected.mask)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("scale", [0.5, 0.7, 1.1, 2.1])
def test_a_crop_of_a_photo_has_the_bytes_it_has_in_the_whole(scale: float, way: tuple[InterpolationMode, bool]) -> None:
    size = (round(1000 * scale), round(1501 * scale))
    box = Box(size[0] // 3, size[1] - 300, 256, 320)
    part = resized_part(noise((1000, 1501)), [size], box, *way)
    assert torch.equal(part.image, part_of_whole(noise((1000, 1501)), [size], box, way).image)


def test_a_side_beyond_all_memory_is_refused() -> None:
    with pytest.raises(ImageTooLarge, match="its 90000 x 1 pixels would be resized to 90000000 x 1000"):
        resized_part(noise((1, 90_000)), [(1000, 90_000_000)], Box(0, 0, 8, 8), BILINEAR, antialias=False)
