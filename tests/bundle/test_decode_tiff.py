"""A TIFF becomes the picture that is meant, or an error that says what to write instead."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from convsmith.bundle.images import open_image
from convsmith.bundle.images.decode import decode_image
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.images.open_image import check_header

COLOUR = (100, 120, 140)


def picture(*more: int, dtype: Any = np.uint8, factor: float = 1) -> NDArray[Any]:
    """Pixels of one colour and further bands, [16, 20, B]."""
    return (np.full((16, 20, 3 + len(more)), (*COLOUR, *more)) * factor).astype(dtype)


def near_infrared() -> NDArray[np.uint8]:
    """A fourth band as plants and soil have it, [16, 20]."""
    return np.random.default_rng(0).normal(130, 40, (16, 20)).clip(0, 255).astype(np.uint8)


def with_band(band: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([picture(), band[..., None]], axis=2)


def written(pixels: NDArray[Any], **options: Any) -> bytes:
    content = io.BytesIO()
    tifffile.imwrite(content, pixels, **options)
    return content.getvalue()


def refusal(pixels: NDArray[Any], **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(written(pixels, **options), "field.tif")
    return str(caught.value)


@pytest.fixture(autouse=True)
def nothing_noted_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_image, "_noted", set())


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("more", [(10,), (10, 20), (10, 20, 30)])
def test_bands_that_are_not_declared_as_transparency_leave_the_colours_alone(
    more: tuple[int, ...], compression: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = picture(*more)
    options: dict[str, Any] = {"photometric": "rgb", "compression": compression}
    data = written(pixels, extrasamples=["unspecified"] * len(more), **options)
    assert decode_image(data, "field.tif")[3, 4].tolist() == [*COLOUR]
    assert "field.tif has more bands than red, green and blue" in caplog.text


def test_what_is_left_out_is_said_of_the_first_file_only(caplog: pytest.LogCaptureFixture) -> None:
    data = written(picture(10), photometric="rgb", extrasamples=["unspecified"])
    for name in ("a.tif", "b.tif"):
        decode_image(data, name)
    assert [record.message.split()[0] for record in caplog.records] == ["a.tif"]


def test_a_fourth_band_without_a_declaration_is_not_transparency() -> None:
    data = written(picture(10), photometric="rgb", extrasamples=["unspecified"])
    tag = data.index(b"\x52\x01\x03\x00")  # ExtraSamples
    data = data[:tag] + b"\x00\xff" + data[tag + 2 :]  # a tag that says nothing
    assert decode_image(data)[3, 4].tolist() == [*COLOUR]


@pytest.mark.parametrize("layout", [{}, {"extrasamples": ["assocalpha"]}, {"compression": "zlib"}])
@pytest.mark.parametrize("band", [near_infrared(), np.full((16, 20), 10, np.uint8)])
def test_near_infrared_that_a_tool_declared_as_transparency_is_refused(
    band: NDArray[np.uint8], layout: dict[str, Any]
) -> None:
    message = refusal(with_band(band), photometric="rgb", **layout)
    assert "its last band counts as transparency" in message
    assert "gdal_translate -b 1 -b 2 -b 3" in message


def test_four_bands_of_16_bits_are_refused_the_same_way() -> None:
    assert "counts as transparency" in refusal(picture(10, dtype=np.uint16, factor=100), photometric="rgb")


def test_transparency_with_soft_edges_lies_on_white() -> None:
    y, x = np.mgrid[0:16, 0:20]
    disc = (255 * (8 - np.hypot(y - 8, x - 10))).clip(0, 255).astype(np.uint8)
    decoded = decode_image(written(with_band(disc), photometric="rgb"))
    assert decoded[8, 10].tolist() == [*COLOUR]
    assert decoded[0, 0].tolist() == [255] * 3


def test_an_empty_tile_is_white() -> None:
    assert decode_image(written(np.zeros((16, 20, 4), np.uint8), photometric="rgb")).min() == 255


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("bands", [2, 3, 4, 12])
def test_bands_without_colours_are_refused(bands: int, planar: str, tmp_path: Path) -> None:
    shape = (16, 20, bands) if planar == "contig" else (bands, 16, 20)
    pixels = np.zeros(shape, np.uint8)
    options = {"photometric": "minisblack", "planarconfig": planar}
    assert f"it has {bands} bands and does not say which are red" in refusal(pixels, **options)
    path = tmp_path / "field.tif"
    path.write_bytes(written(pixels, **options))
    with pytest.raises(ImageError, match="does not say which are red"):
        check_header(path)


def test_one_band_of_several_kept_apart_is_not_taken_for_all() -> None:
    pixels = np.zeros((4, 16, 20), np.uint8)
    message = refusal(pixels, photometric="minisblack", planarconfig="separate", compression="zlib")
    assert "it has 4 bands" in message


def test_pages_that_are_left_out_are_said(caplog: pytest.LogCaptureFixture) -> None:
    decode_image(written(np.zeros((4, 16, 20), np.uint8), photometric="minisblack"), "stack.tif")
    assert "stack.tif has several pages, of which only the first is read" in caplog.text


def test_the_smaller_copies_of_an_image_are_no_pages(caplog: pytest.LogCaptureFixture) -> None:
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as file:
        file.write(picture(), photometric="rgb")
        file.write(picture()[::2, ::2], photometric="rgb", subfiletype=1)
    assert decode_image(content.getvalue()).shape == (16, 20, 3)
    assert not caplog.text


def test_a_damaged_second_page_does_not_spoil_the_first() -> None:
    data = written(np.full((2, 16, 20), 7, np.uint8), photometric="minisblack")
    assert decode_image(data[:-40])[0, 0].tolist() == [7, 7, 7]


def test_the_preview_in_a_raw_photo_is_not_taken_for_the_photo() -> None:
    assert "preview" in refusal(picture(), photometric="rgb", subfiletype=1)


@pytest.mark.parametrize("factor", [1, 16])
@pytest.mark.parametrize("colours", [3, 1])
def test_12_or_8_bits_kept_in_16_are_refused(colours: int, factor: int) -> None:
    pixels = picture(dtype=np.uint16, factor=factor)
    pixels, photometric = (pixels, "rgb") if colours == 3 else (pixels[..., 0], "minisblack")
    message = refusal(pixels, photometric=photometric)
    white = (
        8191 if colours == 3 else 2047 if factor == 16 else 127
    )  # of colours Pillow keeps high bytes, which tell less
    assert "as fewer bits kept in 16" in message
    assert f"Train with preprocess.range=[0, {white}]" in message
    assert f"-scale 0 {white} 0 255" in message


def test_12_bits_kept_in_16_are_right_where_the_file_says_so() -> None:
    pixels = np.array([[0, 4095, 2048]], np.uint16)
    data = written(pixels, photometric="minisblack", extratags=[(281, 3, 1, 4095, True)])
    assert decode_image(data)[0, :, 0].tolist() == [0, 255, 128]


def test_a_black_picture_of_16_bits_is_black() -> None:
    assert decode_image(written(np.zeros((4, 5), np.uint16), photometric="minisblack")).max() == 0


def test_signed_16_bits_reach_from_0_to_32767() -> None:
    pixels = np.array([[0, 32767]], np.int16)
    assert decode_image(written(pixels, photometric="minisblack"))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
@pytest.mark.parametrize(
    ("dtype", "word"),
    [
        (np.float16, "floating-point"), (np.float32, "floating-point"), (np.float64, "floating-point"),
        (np.uint32, "32-bit"), (np.int32, "32-bit"), (np.int8, "signed bytes"),
    ],
)  # fmt: skip
def test_numbers_of_unknown_range_are_refused_with_the_reason(dtype: Any, word: str, photometric: str) -> None:
    pixels = picture(dtype=dtype, factor=0.5)
    message = refusal(pixels if photometric == "rgb" else pixels[..., 0], photometric=photometric)
    assert word in message
    assert "gdal_translate -ot Byte" in message


def test_16_bit_bands_that_pillow_would_garble_are_refused() -> None:
    pixels = np.moveaxis(picture(dtype=np.uint16, factor=100), 2, 0)
    assert "COMPRESS=DEFLATE" in refusal(pixels, photometric="rgb", planarconfig="separate")
    data = written(pixels, photometric="rgb", planarconfig="separate", compression="zlib")
    assert decode_image(data)[3, 4].tolist() == [value * 100 // 256 for value in COLOUR]


def test_a_tiff_of_another_kind_is_described() -> None:
    palette = np.arange(65536, dtype=np.uint16)[None].repeat(3, 0)
    message = refusal(np.zeros((4, 5), np.uint16), photometric="palette", colormap=palette)
    assert "a TIFF of 1 band of 16 bits" in message


def test_compressed_cmyk_of_16_bits_becomes_rgb() -> None:
    pixels = np.full((16, 20, 4), (0, 65535, 65535, 0), np.uint16)
    assert decode_image(written(pixels, photometric="separated"))[3, 4].tolist() == [255, 0, 0]


def test_no_note_for_a_common_tiff(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "convsmith")
    decode_image(written(picture(), photometric="rgb"))
    assert not caplog.records
