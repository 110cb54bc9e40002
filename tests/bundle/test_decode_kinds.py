"""Every kind of image becomes correct RGB."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from convsmith.bundle.images import open_image
from convsmith.bundle.images.decode import decode_image, read_image, to_rgb
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.images.open_image import check_header


def saved(image: Image.Image, format: str, **options: Any) -> bytes:  # noqa: A002
    content = io.BytesIO()
    image.save(content, format, **options)
    return content.getvalue()


def gradient(mode: str = "RGB") -> Image.Image:
    """Something smooth and not symmetric, so that lossy formats stay close and flips are seen."""
    y, x = np.mgrid[0:24, 0:32]
    return Image.fromarray(np.stack([x * 7, y * 9, 255 - x * 3], axis=-1).astype(np.uint8)).convert(mode)


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_a_lossless_format_keeps_every_pixel(format: str) -> None:  # noqa: A002
    assert np.array_equal(decode_image(saved(gradient(), format)), pixels(gradient()))


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "MPO"])
def test_a_lossy_format_stays_close(format: str) -> None:  # noqa: A002
    decoded = decode_image(saved(gradient(), format, quality=95))
    assert np.abs(decoded.astype(int) - pixels(gradient())).max() < 25


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "MPO", "PNG"])
def test_a_file_of_several_pictures_gives_the_first(format: str) -> None:  # noqa: A002
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "lime", "blue")]
    data = saved(frames[0], format, save_all=True, append_images=frames[1:])
    red, green, blue = decode_image(data)[3, 4].tolist()
    assert red > 240
    assert max(green, blue) < 15


def test_grey_becomes_equal_channels() -> None:
    decoded = decode_image(saved(gradient("L"), "PNG"))
    assert np.array_equal(decoded, np.repeat(np.asarray(gradient("L"))[..., None], 3, axis=2))


def test_one_bit_becomes_black_and_white() -> None:
    bits = Image.fromarray(np.array([[True, False]]))
    assert decode_image(saved(bits, "PNG"))[0].tolist() == [[255] * 3, [0] * 3]


@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "TIFF"])
def test_a_palette_is_looked_up(format: str) -> None:  # noqa: A002
    paletted = gradient().quantize(16)
    assert np.array_equal(decode_image(saved(paletted, format)), pixels(paletted))


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 128])])
def test_a_transparent_palette_colour_lies_on_white(transparency: int | bytes) -> None:
    paletted = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    paletted.putpalette([10, 20, 30, 0, 0, 0, 0, 0, 0])
    decoded = decode_image(saved(paletted, "PNG", transparency=transparency))[0].tolist()
    assert decoded[:2] == [[10, 20, 30], [255, 255, 255]]
    assert decoded[2] == ([0, 0, 0] if transparency == 1 else [127, 127, 127])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "AVIF"])
def test_alpha_lies_on_white(mode: str, format: str) -> None:  # noqa: A002
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 51))
    options = {"lossless": True} if format == "WEBP" else {"quality": 100} if format == "AVIF" else {}
    assert decode_image(saved(image.convert(mode), format, **options))[0].tolist() == [[204] * 3, [0] * 3]


@pytest.mark.parametrize(
    ("mode", "seven", "eighty"), [("L", 7, 80), ("RGB", (7, 7, 7), (80, 80, 80)), ("I;16", 7 * 257, 80 * 257)]
)
def test_a_transparent_colour_of_a_png_lies_on_white(mode: str, seven: Any, eighty: Any) -> None:
    image = Image.new(mode, (2, 1), seven)
    image.putpixel((1, 0), eighty)
    assert decode_image(saved(image, "PNG", transparency=seven))[0].tolist() == [[255] * 3, [80] * 3]


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_alpha_lies_on_white(mode: str) -> None:
    image = Image.new("RGBA", (1, 1), (0, 0, 0, 51)).convert("LA" if mode == "La" else "RGBA").convert(mode)
    assert to_rgb(image).getpixel((0, 0)) == (204, 204, 204)


def sixteen_bits() -> NDArray[np.uint16]:
    return np.arange(0, 65536, 5, dtype=np.uint16).reshape(4, -1)[:, :3000]


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bit_grey_is_scaled_by_rounding(format: str, order: str) -> None:  # noqa: A002
    values = sixteen_bits()
    mode = "I;16" if order == "<u2" else "I;16B"
    image = Image.frombytes(mode, values.shape[::-1], values.astype(order).tobytes())
    expected = np.round(values / 257).astype(np.uint8)
    decoded = decode_image(saved(image, format))
    assert np.array_equal(decoded, np.repeat(expected[..., None], 3, axis=2))


def test_16_bit_grey_held_in_32_bits_is_scaled_the_same_way() -> None:
    values = sixteen_bits()
    decoded = np.asarray(to_rgb(Image.fromarray(values.astype(np.int32))))
    assert np.array_equal(decoded[..., 0], np.round(values / 257).astype(np.uint8))


def test_16_bit_grey_whose_zero_is_white_is_inverted() -> None:
    image = Image.fromarray(np.array([[0, 65535]], np.uint16))
    assert decode_image(saved(image, "TIFF", tiffinfo={262: 0}))[0, :, 0].tolist() == [255, 0]


def test_12_bit_grey_uses_the_full_range() -> None:
    packed = bytes([0xFF, 0xF0, 0x00])  # the values 4095 and 0
    tags = [
        (256, 4, 2), (257, 4, 1), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 122), (277, 3, 1), (278, 4, 1),
        (279, 4, 3),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    data = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I", 0) + packed
    assert decode_image(data)[0, :, 0].tolist() == [255, 0]


def deep_png(*values: int) -> bytes:
    """One pixel of 16 bits: grey, grey and alpha, RGB or RGBA."""

    def part(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    kind = {1: 0, 2: 4, 3: 2, 4: 6}[len(values)]
    row = b"\0" + np.array(values, ">u2").tobytes()
    parts = (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, kind, 0, 0, 0)), (b"IDAT", zlib.compress(row)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(part(*it) for it in parts)


def test_16_bit_colour_keeps_its_high_bytes() -> None:
    assert decode_image(deep_png(0x1234, 0xABCD, 0xFFFF))[0, 0].tolist() == [0x12, 0xAB, 0xFF]


@pytest.mark.parametrize("alpha", [(), (65535,)])
@pytest.mark.parametrize("colours", [1, 3])
def test_an_eighth_of_16_bits_of_a_png_is_refused(colours: int, alpha: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="as fewer bits kept in 16"):
        decode_image(deep_png(*[8191] * colours, *alpha))
    assert decode_image(deep_png(*[8192] * colours, *alpha)).max() == 32


@pytest.mark.parametrize("values", [np.array([[value]], np.int32) for value in (70000, -1, 40000)])
def test_integers_of_32_bits_are_refused_with_the_reason(values: NDArray[np.int32]) -> None:
    with pytest.raises(ImageError, match=r"deep\.tif: its pixels are 32-bit integers"):
        decode_image(saved(Image.fromarray(values), "TIFF"), "deep.tif")


def test_floating_point_pixels_are_refused_with_the_reason() -> None:
    with pytest.raises(ImageError, match="floating-point"):
        decode_image(saved(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"))


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(format: str) -> None:  # noqa: A002
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red, green, blue = decode_image(saved(image, format))[8, 8].tolist()
    assert red > 250
    assert max(green, blue) < 5


def test_ycbcr_becomes_rgb() -> None:
    decoded = decode_image(saved(gradient().convert("YCbCr"), "TIFF", compression="tiff_lzw"))
    assert np.abs(decoded.astype(int) - pixels(gradient())).max() <= 3


def test_lab_becomes_rgb() -> None:
    lab = ImageCms.profileToProfile(
        gradient(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    decoded = decode_image(saved(lab, "TIFF"))
    assert np.abs(decoded.astype(int) - pixels(gradient())).mean() < 2


def test_hsv_becomes_rgb() -> None:
    decoded = np.asarray(to_rgb(gradient().convert("HSV")))
    assert np.abs(decoded.astype(int) - pixels(gradient())).max() <= 6


ORIENTATIONS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(
    "options", [{"format": "PNG"}, {"format": "TIFF"}, {"format": "TIFF", "compression": "tiff_lzw"}]
)
def test_exif_orientation_is_applied(orientation: int, options: dict[str, str]) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    decoded = decode_image(saved(gradient(), **options, exif=exif))
    assert np.array_equal(decoded, ORIENTATIONS[orientation](pixels(gradient())))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_impossible_orientation_leaves_the_image_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    assert np.array_equal(decode_image(saved(gradient(), "PNG", exif=exif)), pixels(gradient()))


def test_an_image_is_turned_only_once() -> None:
    exif = Image.Exif()
    exif[274] = 6
    with Image.open(io.BytesIO(saved(gradient(), "PNG", exif=exif))) as image:
        once = to_rgb(image)
    assert np.array_equal(np.asarray(to_rgb(once)), np.asarray(once))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "TIFF"])
def test_the_header_tells_the_size_of_the_upright_image(orientation: int, kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    (tmp_path / "image").write_bytes(saved(gradient(), kind, exif=exif))
    height, width, _ = read_image(tmp_path / "image").shape
    assert check_header(tmp_path / "image") == (width, height)


def test_read_image_reads_a_file_of_any_name(tmp_path: Path) -> None:
    path = tmp_path / "写真 – été.png"
    path.write_bytes(saved(gradient(), "PNG"))
    assert np.array_equal(read_image(path), pixels(gradient()))


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_photos_of_new_kinds_are_read(kind: str) -> None:
    pillow_heif.register_heif_opener()
    decoded = decode_image(saved(gradient(), kind, quality=95))
    assert np.abs(decoded.astype(int) - pixels(gradient())).max() < 25


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_photos_of_new_kinds_are_turned_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "photo"
    path.write_bytes(saved(gradient(), kind, quality=95, exif=exif.tobytes()))
    expected = ORIENTATIONS[orientation](pixels(gradient()).astype(int))
    decoded = read_image(path)
    assert np.abs(decoded - expected).max() < 25
    assert check_header(path) == decoded.shape[1::-1]


def test_heic_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_heif.register_heif_opener()
    data = saved(gradient(), "HEIF")
    monkeypatch.setattr(open_image, "_can_read_heif", lambda: False)
    with pytest.raises(ImageError, match=r"cat\.heic: a HEIC image needs the package `pillow_heif`") as caught:
        decode_image(data, "cat.heic")
    assert "[heic]" in caught.value.fix


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"8BPS\0\1", "Photoshop"), (b"%PDF-1.7", "PDF"), (b"\xff\x0a\0", "JPEG XL"), (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"PK\3\4", "ZIP"), (b"<svg xmlns=", "SVG"), (b"\0\0\0\x18ftypmp42", "video"), (b"RIFF\0\0\0\0AVI ", "RIFF"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"), (bytes(128) + b"DICM", "DICOM"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_called_by_its_name(head: bytes, kind: str) -> None:
    with pytest.raises(ImageError, match=f"it is a {kind} file, not an image of a known kind"):
        decode_image(head + bytes(200))
