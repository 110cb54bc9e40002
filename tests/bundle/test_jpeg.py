"""JPEGs are decoded to the same pixels, to the last bit, whether Pillow does it or not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import RandomState
from numpy.typing import NDArray
from PIL import Image, ImageOps

from convsmith.bundle.images.decode import as_pillow, decode_image, decode_rgb, for_eyes, size_of
from convsmith.bundle.images.jpeg import decode_jpeg, is_jpeg
from tests.bundle.decoding import outcome

SAMPLINGS = ["4:4:4", "4:2:2", "4:2:0", "4:1:1"]
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "progressive": {"progressive": True},
    "optimized": {"optimize": True},
    "low-quality": {"quality": 5},
    "best-quality": {"quality": 100},
    "restart-blocks": {"restart_marker_blocks": 3},
    "restart-rows": {"restart_marker_rows": 1},
    "kept-rgb": {"keep_rgb": True},
    "profile": {"icc_profile": bytes(70_000)},
}
SIZES = [(1, 1), (7, 5), (8, 8), (17, 33), (64, 48), (333, 201)]


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    noise = RandomState(width * height).randint(0, 256, (height, width, 3), np.uint8)
    smooth = Image.fromarray(noise).resize((max(1, width // 3), max(1, height // 3))).resize((width, height))
    return Image.blend(smooth, Image.fromarray(noise), 0.2).convert(mode)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", **options)
    return content.getvalue()


def by_pillow(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def is_decoded_without_pillow(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        return is_jpeg(image) and decode_jpeg(data, (image.height, image.width)) is not None


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_pixels_of_every_ordinary_kind_are_pillows(sampling: str, kind: str, size: tuple[int, int]) -> None:
    options = KINDS[kind] if kind == "kept-rgb" else {"subsampling": sampling, **KINDS[kind]}
    data = jpeg(picture(*size), **options)
    assert is_decoded_without_pillow(data)
    assert np.array_equal(decode_image(data), by_pillow(data))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_grey_becomes_rgb(size: tuple[int, int]) -> None:
    data = jpeg(picture(*size, "L"))
    assert is_decoded_without_pillow(data)
    assert np.array_equal(decode_image(data), by_pillow(data))


@pytest.mark.parametrize("orientation", range(10))
def test_the_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(picture(40, 24), exif=exif)
    assert np.array_equal(decode_image(data), by_pillow(data))


def test_the_first_picture_of_several_is_meant() -> None:
    content = io.BytesIO()
    picture(40, 24).save(content, "MPO", save_all=True, append_images=[picture(24, 40)])
    assert is_decoded_without_pillow(content.getvalue())
    assert np.array_equal(decode_image(content.getvalue()), by_pillow(content.getvalue()))


def test_cmyk_is_left_to_pillow() -> None:
    data = jpeg(picture(40, 24, "CMYK"))
    assert not is_decoded_without_pillow(data)
    assert np.array_equal(decode_image(data), by_pillow(data))


def test_sampling_that_is_refused_is_left_to_pillow() -> None:
    data = bytearray(jpeg(picture(64, 64), subsampling="4:2:0"))
    frame = data.index(b"\xff\xc0")
    data[frame + 14] = 0x21  # the first chroma component, of two columns, beside a second one of one
    assert not is_decoded_without_pillow(bytes(data))


def test_pixels_may_be_written_to() -> None:
    pixels = decode_image(jpeg(picture(8, 8)))
    pixels[0, 0] = 1
    assert pixels[0, 0].tolist() == [1, 1, 1]


def test_photos_are_pillows_to_the_last_bit(test_data: Path) -> None:
    with tarfile.open(test_data / "data" / "imagenet-samples.tar") as archive:
        files = [archive.extractfile(member) for member in archive if member.name.lower().endswith((".jpg", ".jpeg"))]
        contents = [file.read() for file in files[:40] if file]
    assert len(contents) == 40
    assert all(np.array_equal(decode_image(content), by_pillow(content)) for content in contents)


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 5000), st.integers(0, 7), st.sampled_from(["flip", "cut"]))
def test_damaged_files_are_read_or_refused_as_by_pillow_alone(place: int, bit: int, damage: str) -> None:
    data = bytearray(jpeg(picture(64, 48)))
    place %= len(data)
    if damage == "cut":
        del data[place:]
    else:
        data[place] ^= 1 << bit
    with patch("convsmith.bundle.images.decode.decode_jpeg", return_value=None):
        expected = outcome(bytes(data))
    assert outcome(bytes(data)) == expected


@pytest.mark.parametrize(
    ("least", "expected"),
    [
        ((64, 40), (64, 40)),
        ((33, 1), (64, 40)),
        ((1, 21), (64, 40)),
        ((32, 20), (32, 20)),
        ((17, 10), (32, 20)),
        ((16, 11), (32, 20)),
        ((16, 10), (16, 10)),
        ((8, 5), (8, 5)),
        ((1, 1), (8, 5)),
    ],
)
def test_the_smallest_image_that_suffices_is_decoded(least: tuple[int, int], expected: tuple[int, int]) -> None:
    pixels = decode_jpeg(jpeg(picture(40, 64)), (64, 40), least)
    assert pixels is not None
    assert pixels.shape == (*expected, 3)


def test_odd_sides_are_rounded_up() -> None:
    data = jpeg(picture(41, 63))
    images = [decode_jpeg(data, (63, 41), least) for least in ((32, 21), (16, 11), (8, 6))]
    assert [it.shape[:2] for it in images if it is not None] == [(32, 21), (16, 11), (8, 6)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_suffices_is_asked_of_the_upright_image(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    asked = []

    def least(size: tuple[int, int]) -> tuple[int, int]:
        asked.append(size)
        return size[0] // 2, size[1] // 8

    shown = as_pillow(decode_rgb(jpeg(picture(64, 16), exif=exif), least=least))
    upright = orientation < 5
    assert asked == [(16, 64) if upright else (64, 16)]
    assert shown.size == ((32, 8) if upright else (8, 32))


def test_any_channels_are_shown_in_rgb() -> None:
    many = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    assert np.array_equal(np.asarray(for_eyes(many)), many[:, :, :3])
    assert np.array_equal(np.asarray(for_eyes(many[:, :, :2])), many[:, :, [0, 0, 0]])
    assert size_of(many) == (3, 2)
