"""Images of any number of channels and bits become the bytes that are meant, or an error that names the key."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.images.bands import decode, measure_array, of_pillow, read_header
from convsmith.bundle.images.budget import weigh
from convsmith.bundle.images.image_error import ImageError, ImageTooLarge
from convsmith.bundle.preprocess import preprocess, read_and_preprocess
from convsmith.spec import RGB, Bands, Preprocess

SIZE = (37, 53)
TWELVE_BITS = (0.0, 4095.0)


def noise(channels: int, dtype: Any = np.uint8, highest: int = 256) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, highest, (*SIZE, channels)).astype(dtype)


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    content = io.BytesIO()
    pixels = pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
    more = {"extrasamples": ["unspecified"] * (pixels.shape[2] - 1)} if pixels.ndim == 3 else {}
    tifffile.imwrite(content, pixels, **{"photometric": "minisblack", "planarconfig": "contig", **more, **options})
    return content.getvalue()


def npy(values: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


def saved(pixels: NDArray[Any], kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **options)
    return content.getvalue()


def pixels_in(data: bytes, bands: Bands, name: str = "field.tif") -> NDArray[np.uint8]:
    return np.asarray(decode(data, name, bands))


def refusal(data: bytes, bands: Bands) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, "field.tif", bands)
    return str(caught.value)


# TIFF


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib", "rowsperstrip": 10},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 32)},
        {"tile": (32, 16), "compression": "zlib", "predictor": True},
        {"byteorder": ">", "compression": "zlib", "predictor": True},
        {"bigtiff": True},
    ],
)
def test_every_layout_of_a_tiff_has_the_numbers_that_were_written(
    dtype: str, planar: str, options: dict[str, Any]
) -> None:
    if dtype == "f4" and "predictor" in options:
        pytest.skip("tifffile cannot write it; the next test has it from libtiff")
    values = noise(5, dtype)
    content = io.BytesIO()
    given = np.moveaxis(values, 2, 0) if planar == "separate" else values
    tifffile.imwrite(content, given, photometric="minisblack", planarconfig=planar, extrasamples=[0] * 4, **options)
    assert np.array_equal(pixels_in(content.getvalue(), Bands(5, (0, 255))), values.astype(np.uint8))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd"])
def test_what_libtiff_compresses_is_read(compression: str) -> None:
    pixels = noise(4)
    assert np.array_equal(pixels_in(saved(pixels, "TIFF", compression=compression), Bands(4)), pixels)


@pytest.mark.parametrize(("dtype", "channels", "predictor"), [("f4", 1, 3), ("u1", 4, 2), ("u2", 1, 2)])
def test_what_libtiff_predicts_is_read(dtype: str, channels: int, predictor: int) -> None:
    values = noise(channels, dtype)
    image = values if channels > 1 else values[..., 0]
    data = saved(image, "TIFF", compression="tiff_lzw", tiffinfo={317: predictor})
    assert data.index(struct.pack("<HHIH", 317, 3, 1, predictor))
    assert np.array_equal(pixels_in(data, Bands(channels, (0, 255))), values.astype(np.uint8))


def test_four_bands_are_four_whatever_the_file_says_of_transparency() -> None:
    pixels = noise(4)
    for extra in ("unspecified", "unassalpha", "assocalpha"):
        data = tiff(pixels, photometric="rgb", extrasamples=[extra])
        assert np.array_equal(pixels_in(data, Bands(4)), pixels)


def test_pages_of_one_band_each_are_the_bands_of_one_image() -> None:
    pixels, content = noise(4), io.BytesIO()
    tifffile.imwrite(content, np.moveaxis(pixels, 2, 0), photometric="minisblack")
    assert np.array_equal(pixels_in(content.getvalue(), Bands(4)), pixels)
    assert "it has 1 channel, where data.channels is 5" in refusal(content.getvalue(), Bands(5))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_turns_bands_as_pillow_turns_rgb(orientation: int) -> None:
    pixels = noise(3)
    data = tiff(pixels, photometric="rgb", extrasamples=[], extratags=[(274, "H", 1, orientation, True)])
    turned = np.asarray(decode(data, "a.tif", RGB))
    assert np.array_equal(pixels_in(data, Bands(3, (0, 255))), turned)
    assert read_header(io.BytesIO(data), "a.tif", Bands(3, (0, 255)))[:2] == turned.shape[1::-1]


def test_a_damaged_tiff_is_an_error() -> None:
    data = tiff(noise(4), compression="zlib")
    for damaged in (data[: len(data) // 2], data[:200], data[:60]):
        with pytest.raises(ImageError):
            decode(damaged, "a.tif", Bands(4))


# Arrays


def test_an_array_is_read_with_its_channels_last_or_first() -> None:
    pixels = noise(4)
    for array in (pixels, np.moveaxis(pixels, 2, 0), np.asfortranarray(pixels)):
        assert np.array_equal(pixels_in(npy(array), Bands(4)), pixels)
    assert np.array_equal(pixels_in(npy(noise(3)), RGB), noise(3))


def test_an_array_that_would_run_code_is_refused() -> None:
    assert "NumPy file of object" in refusal(npy(np.array([[{}, 1]], object)), Bands(1))


def test_a_small_file_that_claims_a_huge_array_is_refused() -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 60000, 4), }".ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    for read in (lambda: decode(data, "a.npy", Bands(4)), lambda: read_header(io.BytesIO(data), "a.npy", Bands(4))):
        with pytest.raises(ImageTooLarge, match=r"60000 x 60000 = 3600000000 pixels"):
            read()


def test_many_bytes_of_each_pixel_count_like_more_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", "2000")
    decode(npy(noise(4)), "a.npy", Bands(4))
    with pytest.raises(ImageTooLarge, match=r"53 x 37 pixels of 8 bytes"):
        decode(npy(noise(4, np.uint16)), "a.npy", Bands(4, TWELVE_BITS))


def test_what_a_server_decodes_weighs_as_much_as_its_bytes() -> None:
    assert weigh(npy(noise(13, np.uint16)), "a.npy", 10**6, Bands(13)) > 6 * weigh(
        npy(noise(4)), "a.npy", 10**6, Bands(4)
    )
    with pytest.raises(ImageTooLarge):
        weigh(npy(noise(13, np.uint16)), "a.npy", 2000, Bands(13))


# Other files


def test_grey_has_one_channel_in_any_file() -> None:
    grey = noise(1)
    files = [saved(grey[..., 0], "PNG"), saved(np.repeat(grey, 3, axis=2), "PNG"), tiff(grey[..., 0]), npy(grey)]
    for data in files:
        assert np.array_equal(pixels_in(data, Bands(1)), grey)
    smooth = np.full((*SIZE, 1), 77, np.uint8)
    assert np.array_equal(pixels_in(saved(smooth[..., 0], "JPEG"), Bands(1)), smooth)


def test_transparency_is_a_channel_of_four_or_two() -> None:
    for channels in (4, 2):
        pixels = noise(channels)
        assert np.array_equal(pixels_in(saved(pixels, "PNG"), Bands(channels)), pixels)
        assert np.array_equal(np.asarray(of_pillow(Image.fromarray(pixels), "a", Bands(channels))), pixels)


@pytest.mark.parametrize(
    ("data", "channels", "found"),
    [
        (saved(noise(3), "PNG"), 1, "3 channels, and they differ"),
        (saved(noise(3), "JPEG"), 4, "3 channels"),
        (saved(noise(1)[..., 0], "PNG"), 4, "1 channel"),
        (tiff(noise(4), photometric="rgb", extrasamples=["unspecified"]), 1, "4 channels"),
        (tiff(noise(5)), 4, "5 channels"),
        (npy(noise(4)), 3, "4 channels"),
    ],
)
def test_another_number_of_channels_is_an_error_that_names_the_file_and_the_key(
    data: bytes, channels: int, found: str
) -> None:
    message = refusal(data, Bands(channels))
    assert message.startswith(f"cannot read field.tif: it has {found}, where data.channels is {channels}\n")
    assert f"Set data.channels={found[0]}" in message


@pytest.mark.parametrize("channels", [1, 4, 5])
def test_headers_tell_the_number_of_channels_of_arrays(channels: int) -> None:
    for data in (tiff(noise(channels)), npy(noise(channels))):
        assert measure_array(io.BytesIO(data), "a", Bands(channels)) == (*SIZE[::-1], channels)
        with pytest.raises(ImageError, match=r"where data.channels is 6"):
            read_header(io.BytesIO(data), "a", Bands(6))


# Range


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_range_is_scaled_to_bytes_and_rounded_and_cut_off_beyond_it(channels: int) -> None:
    values = noise(channels, np.uint16, 4200)
    expected = np.floor(values.clip(0, 4095) * (255 / 4095) + 0.5).astype(np.uint8)
    for data in (tiff(values), npy(values), npy(values.astype(np.float32))):
        assert np.array_equal(pixels_in(data, Bands(channels, TWELVE_BITS)), expected)


def test_a_range_holds_for_grey_png_and_for_rgb_of_it() -> None:
    grey = noise(1, np.uint16, 4096)[..., 0]
    expected = np.floor(grey * (255 / 4095) + 0.5).astype(np.uint8)
    data = saved(grey, "PNG")
    assert np.array_equal(pixels_in(data, Bands(1, TWELVE_BITS))[..., 0], expected)
    assert np.array_equal(pixels_in(data, Bands(3, TWELVE_BITS)), np.repeat(expected[..., None], 3, axis=2))


def test_hounsfield_units_below_zero_have_a_range() -> None:
    values = np.array([[-2000, -1000, -300, 400, 3000]], np.int16)
    assert pixels_in(npy(values), Bands(1, (-1000, 400))).ravel().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("channels", [1, 4])
def test_sixteen_bits_without_a_range_are_scaled_from_the_whole_of_it(channels: int) -> None:
    values = noise(channels, np.uint16, 65536)
    expected = np.floor(values * (255 / 65535) + 0.5).astype(np.uint8)
    assert np.array_equal(pixels_in(tiff(values), Bands(channels)), expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("highest", [4096, 8192])
def test_sixteen_bits_that_use_an_eighth_of_their_range_are_refused(channels: int, highest: int) -> None:
    values = noise(channels, np.uint16, highest)
    values[0, 0] = highest - 1
    options = {"photometric": "rgb", "extrasamples": []} if channels == 3 else {}
    message = refusal(tiff(values, **options), Bands(channels))
    seen = 8191 if channels == 3 else highest - 1  # of RGB Pillow keeps high bytes, which tell less
    assert f"preprocess.range=[0, {seen}]" in message.replace(", such as ", "=")
    assert "next to nothing" in message


def test_numbers_of_another_type_need_a_range() -> None:
    values = np.array([[-1.5, 2.25]], np.float32)
    assert "float32, whose range is not known\nSet preprocess.range; here they reach from -1.5 to 2.25." in refusal(
        npy(values), Bands(1)
    )


def test_bytes_among_images_of_a_wider_range_are_refused() -> None:
    assert "it has 8 bits, where preprocess.range reaches to 4095" in refusal(npy(noise(1)), Bands(1, TWELVE_BITS))


def test_values_that_are_not_numbers_are_refused() -> None:
    assert "not numbers" in refusal(npy(np.array([[np.nan, 1.0]])), Bands(1, (0, 1)))


def test_colours_of_sixteen_bits_in_a_png_are_refused_where_a_range_is_asked() -> None:
    content = io.BytesIO()
    Image.fromarray(noise(1, np.uint16, 4096)[..., 0]).save(content, "PNG")
    data = bytearray(content.getvalue())
    data[25] = 2  # colour type of IHDR: RGB
    data[29:33] = struct.pack(">I", __import__("zlib").crc32(data[12:29]))
    assert "only 8 bits can be read" in refusal(bytes(data), Bands(3, TWELVE_BITS))


# The model's input


@pytest.mark.parametrize("method", ["resize_then_crop", "crop_then_resize", "warp"])
@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_each_channel_is_preprocessed_as_one_of_rgb_is(channels: int, method: Any) -> None:
    resize = 24 if method == "warp" else 28
    spec = Preprocess(resize=resize, crop=24, method=method, mean=(0.5,) * channels, std=(0.2,) * channels)
    rgb = spec.model_copy(update={"mean": (0.5,) * 3, "std": (0.2,) * 3})
    pixels = noise(channels)
    alone = [preprocess(np.repeat(pixels[..., i : i + 1], 3, axis=2), rgb)[:1] for i in range(channels)]
    assert np.array_equal(read_and_preprocess(npy(pixels), spec), np.concatenate(alone))
    assert np.array_equal(read_and_preprocess(pixels, spec), np.concatenate(alone))


def test_an_array_of_another_number_of_channels_is_refused_by_its_key() -> None:
    spec = Preprocess(resize=24, crop=24, mean=(0.5,) * 4, std=(0.2,) * 4)
    with pytest.raises(ImageError, match=r"it has 3 channels, where data.channels is 4"):
        read_and_preprocess(noise(3), spec)


def test_mean_and_deviation_have_one_value_for_each_channel() -> None:
    with pytest.raises(ValueError, match=r"mean has 4 values, but std has 3"):
        Preprocess(resize=24, crop=24, mean=(0.5,) * 4)
    with pytest.raises(ValueError, match=r"range is \[low, high\], but 5 is not below 5"):
        Preprocess(resize=24, crop=24, range=(5, 5))
