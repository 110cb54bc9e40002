"""The one preprocessing equals the published ones, to the last bit."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torchvision.transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from convsmith.bundle.images.decode import decode_image, decode_rgb
from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.bundle.preprocess import preprocess
from convsmith.spec import Interpolation, Preprocess


def noise(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(width * 10_007 + height).integers(0, 256, (height, width, 3), np.uint8)


def by_torchvision(image: NDArray[np.uint8], spec: Preprocess) -> NDArray[np.uint8]:
    steps = T.Compose(
        [T.Resize(spec.resize, T.InterpolationMode(spec.interpolation)), T.CenterCrop(spec.crop), T.PILToTensor()]
    )
    result: NDArray[np.uint8] = steps(Image.fromarray(image)).numpy()
    return result


GOLDENS = Path(__file__).parents[1] / "goldens"
INTERPOLATIONS: list[Interpolation] = ["nearest", "bilinear", "bicubic"]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 120),
    st.integers(1, 120),
    st.sampled_from(INTERPOLATIONS),
)
def test_any_size_equals_torchvision(
    width: int, height: int, resize: int, crop: int, interpolation: Interpolation
) -> None:
    spec = Preprocess(resize=resize, crop=crop, interpolation=interpolation)
    image = noise(width, height)
    assert np.array_equal(preprocess(image, spec), by_torchvision(image, spec))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resizing_only_what_the_crop_shows_would_give_other_levels(interpolation: Interpolation) -> None:
    """Pillow rounds where a `box` lies, and its size may turn the order of the two passes around: all is resized."""
    image, resampling = Image.fromarray(noise(500, 375)), Image.Resampling[interpolation.upper()]
    whole = np.asarray(image.resize((341, 256), resampling).crop((58, 16, 282, 240)), int)
    box = (58 * 500 / 341, 16 * 375 / 256, 282 * 500 / 341, 240 * 375 / 256)
    assert np.abs(whole - np.asarray(image.resize((224, 224), resampling, box))).max() == 1


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (333, 501), (257, 256), (225, 224), (224, 301), (100, 90)])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_usual_sizes_equal_torchvision(size: tuple[int, int], interpolation: Interpolation) -> None:
    spec = Preprocess(resize=256, crop=224, interpolation=interpolation)
    assert np.array_equal(preprocess(noise(*size), spec), by_torchvision(noise(*size), spec))


@pytest.mark.parametrize("size", [(31, 32), (40, 33), (16, 90)])
def test_an_image_smaller_than_the_crop_is_padded_as_torchvision_does(size: tuple[int, int]) -> None:
    spec = Preprocess(resize=33, crop=64)
    result = preprocess(noise(*size), spec)
    assert np.array_equal(result, by_torchvision(noise(*size), spec))
    assert not result[:, :, 0].any()


def test_real_photographs_equal_torchvision(test_data: Path) -> None:
    spec = Preprocess(resize=256, crop=224)
    with tarfile.open(test_data / "data" / "imagenet-samples.tar") as archive:
        for member in archive.getmembers()[::5]:
            file = archive.extractfile(member)
            assert file is not None
            content = file.read()
            reference = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
            assert np.array_equal(preprocess(decode_image(content), spec), by_torchvision(reference, spec)), member.name


def test_an_image_of_the_right_size_is_unchanged() -> None:
    image = noise(32, 32)
    assert np.array_equal(preprocess(image, Preprocess(resize=32, crop=32)), image.transpose(2, 0, 1))


def test_a_pillow_image_gives_the_same_as_its_pixels() -> None:
    spec = Preprocess(resize=50, crop=40)
    content = io.BytesIO()
    Image.fromarray(noise(81, 70)).save(content, "PNG")
    assert np.array_equal(preprocess(decode_rgb(content.getvalue()), spec), preprocess(noise(81, 70), spec))


def test_the_result_is_contiguous_uint8_of_the_crop() -> None:
    result = preprocess(noise(60, 50), Preprocess(resize=40, crop=36))
    assert result.dtype == np.uint8
    assert result.shape == (3, 36, 36)
    assert result.flags.c_contiguous


def test_a_strip_that_would_become_huge_is_refused() -> None:
    with pytest.raises(ImageTooLarge, match="1 x 60000 pixels would be resized to 256 x 15360000"):
        preprocess(np.zeros((60_000, 1, 3), np.uint8), Preprocess(resize=256, crop=224))


@pytest.mark.parametrize(
    ("width", "height", "crop", "cut", "corner"),
    [
        (w, h, crop, cut, corner)
        for w, h, crop, _, cut, corner in json.loads((GOLDENS / "center_crop.json").read_text("utf-8"))["cases"]
    ],
)
def test_crop_then_resize_cuts_where_the_official_code_does(
    width: int, height: int, crop: int, cut: list[int], corner: list[int]
) -> None:
    image = noise(width, height)
    left, top = corner
    square = Image.fromarray(image).crop((left, top, left + cut[0], top + cut[1]))
    expected = np.asarray(square.resize((crop, crop), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    spec = Preprocess(resize=crop + 32, crop=crop, method="crop_then_resize", interpolation="bicubic")
    assert np.array_equal(preprocess(image, spec), expected)


@pytest.mark.parametrize("size", [(500, 375), (384, 384), (100, 700), (3, 2)])
def test_warp_resizes_both_sides_and_cuts_nothing_off(size: tuple[int, int]) -> None:
    image = noise(*size)
    expected = T.PILToTensor()(T.Resize((384, 384), T.InterpolationMode.BICUBIC)(Image.fromarray(image)))
    spec = Preprocess(resize=384, crop=384, method="warp", interpolation="bicubic")
    assert np.array_equal(preprocess(image, spec), expected.numpy())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 60), st.integers(0, 4000))
def test_crop_then_resize_of_any_size_gives_the_crop(width: int, height: int, crop: int, more: int) -> None:
    spec = Preprocess(resize=crop + more, crop=crop, method="crop_then_resize")
    assert preprocess(noise(width, height), spec).shape == (3, crop, crop)


def test_long_strips_are_no_problem_where_the_resized_image_is_the_crop() -> None:
    strip = np.zeros((60_000, 1, 3), np.uint8)
    for spec in (
        Preprocess(resize=64, crop=56, method="crop_then_resize"),
        Preprocess(resize=56, crop=56, method="warp"),
    ):
        assert preprocess(strip, spec).shape == (3, 56, 56)


def test_a_resize_that_the_method_would_ignore_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"`warp` resizes both sides to `crop` \(224\), so .* not 256"):
        Preprocess(resize=256, crop=224, method="warp")
    with pytest.raises(ValidationError, match=r"`resize` \(224\) cannot be below `crop` \(256\)"):
        Preprocess(resize=224, crop=256, method="crop_then_resize")


def test_files_written_before_there_was_a_choice_mean_resize_then_crop() -> None:
    assert Preprocess.model_validate_json('{"resize": 256, "crop": 224}').method == "resize_then_crop"
