"""Bytes of an image file become RGB: Pillow, eight bits, upright, and never anything worse than an `ImageError`."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from convsmith.errors import ConvsmithError

MAX_PIXELS = 64 * 1024 * 1024
MAX_BYTES = 256 * 1024 * 1024
_USUAL_BYTES = 2**20  # read() makes room for all that it may return, so the limit itself would cost a lot for each file
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # Pillow's JPEG reads MPO too
IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif")
)
_MAX_JPEG_SCANS = 100  # of the largest image; smaller ones may have more in the same time
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = frozenset((5, 6, 7, 8))  # orientations that swap width and height


class ImageError(ConvsmithError):
    """An image that gets no answer, since it cannot be read or predicted; `what` names it, `why` says the reason."""


class ImageTooLarge(ImageError):
    """An image over a limit of size, refused before it is decoded."""


class NoAnswer(ImageError):
    """An image that was read, but that the model cannot run on, or gives logits for that are not finite."""

    @classmethod
    def of_logits(cls, name: str) -> NoAnswer:
        """The error for an image whose logits are infinite, or not numbers."""
        return cls(f"the model gives no answer for {name}", "its logits are not finite numbers")


def decode_image(data: bytes, name: str = "image") -> NDArray[np.uint8]:
    """RGB pixels [H, W, 3] in 0 to 255 of a JPEG (or MPO), PNG, WebP, BMP, TIFF or GIF (first frame).

    Greyscale, palette, 1-bit, 16-bit grey, CMYK, YCbCr and LAB are converted, transparency lies on white, and the
    EXIF orientation is applied. Embedded colour profiles are not, as in torchvision.

    Args:
        data: the whole file.
        name: what an error calls it.

    Raises:
        ImageTooLarge: more than `MAX_PIXELS` pixels.
        ImageError: not an image, damaged, or of a kind with no 8-bit meaning (32-bit, floating point).
    """
    return np.asarray(decode_rgb(data, name))


def read_image(path: Path) -> NDArray[np.uint8]:
    """`decode_image` of a file of at most `MAX_BYTES` bytes; errors name the file."""
    return decode_image(read_bytes(path), str(path))


def decode_rgb(data: bytes, name: str = "image") -> Image.Image:
    """`decode_image` as a Pillow image of mode RGB, which saves a copy where Pillow goes on with it."""
    with open_image(data, name) as image:
        return to_rgb(image, name)


@contextmanager
def open_image(data: bytes, name: str = "image") -> Iterator[Image.Image]:
    """A Pillow image of any of the `FORMATS`, found small enough to be decoded, which it is not yet.

    Whatever goes wrong then becomes an `ImageError` as in `decode_image`.
    """
    if not data:
        raise _empty(name)
    with _image_errors(name), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_header(image, name)
        _check_scans(image, data, name)
        yield image


def check_header(path: Path) -> tuple[int, int]:
    """Raise the `ImageError` that `read_image` would, as far as the size and the header of the file tell.

    Returns:
        Width and height in pixels of the upright image; an orientation that stands behind the pixels of a PNG is not
        known.
    """
    with _file_errors(path), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise _empty(str(path))
        if size > MAX_BYTES:
            raise _file_too_large(path)
        with _image_errors(str(path)), Image.open(file, formats=FORMATS) as image:
            _check_header(image, str(path))
            # Pillow itself turns TIFFs, and would decode the pixels of a PNG to look for an orientation behind them.
            asks = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
            return image.size[::-1] if asks and _orientation(image) in _LYING else image.size


def read_bytes(path: Path) -> bytes:
    """The content of a file of at most `MAX_BYTES` bytes, or an `ImageError` that names it."""
    with _file_errors(path), path.open("rb") as file:
        data = file.read(_USUAL_BYTES)
        if len(data) == _USUAL_BYTES:
            data += file.read(MAX_BYTES + 1 - _USUAL_BYTES)
    if len(data) > MAX_BYTES:
        raise _file_too_large(path)
    return data


def read_stream(file: IO[bytes], name: str) -> bytes:
    """The content of an open file of at most `MAX_BYTES` bytes, from its start where it can be wound back."""
    chunks, size = [], 0
    with _file_errors(name):
        if file.seekable():
            file.seek(0)
        while chunk := file.read(_USUAL_BYTES):
            if not isinstance(chunk, bytes):
                raise ImageError(f"cannot read {name}", f"it gives {type(chunk).__name__}", "Open it with mode 'rb'.")
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BYTES:
                raise _file_too_large(name)
    return b"".join(chunks)


def to_rgb(image: Image.Image, name: str = "image") -> Image.Image:
    """Any Pillow image as upright RGB, by the rules of `decode_image`."""
    _check_size(image, name)
    try:
        image.load()
        return turn_upright(image, _convert(image, name))
    except ImageError:
        raise
    except Exception as error:  # see decode_rgb
        raise _unreadable(name, error) from error


def turn_upright(image: Image.Image, pixels: Image.Image) -> Image.Image:
    """`pixels`, turned and mirrored as the EXIF orientation of `image` says."""
    method = _TRANSPOSE.get(_orientation(image))
    if method is not None:
        pixels = pixels.transpose(method)
        pixels.info = {}  # Pillow would keep the orientation, and a second call would turn the image again
    return pixels


def _convert(image: Image.Image, name: str) -> Image.Image:
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image
    if mode == "I" or mode.startswith("I;16"):
        return _from_16_bit(image, name)
    if mode == "F":
        raise ImageError(f"cannot read {name}", "its pixels are floating-point numbers, whose range is not known")
    if mode == "LAB":
        return _from_lab(image)
    if mode == "La":  # Pillow has no direct way from here
        image = image.convert("LA")
    if not image.has_transparency_data:
        return image.convert("RGB")
    pixels = image if mode == "RGBA" else image.convert("RGBA")
    on_white = Image.new("RGB", image.size, "white")
    on_white.paste(pixels, mask=pixels)
    return on_white


def _from_16_bit(image: Image.Image, name: str) -> Image.Image:
    """Grey of 16 bits (12 in some TIFFs) to 8, by rounding; Pillow's own conversion clips."""
    values = np.asarray(image)
    if image.mode == "I" and (values.min() < 0 or values.max() > 65535):
        raise ImageError(f"cannot read {name}", "its pixels are 32-bit integers, whose range is not known")
    tags: Any = getattr(image, "tag_v2", {})
    full = 4095 if tags.get(ExifTags.Base.BitsPerSample) == (12,) else 65535
    wide = values.astype(np.uint32)  # and in place: the largest images need every byte
    wide *= 2 * 255
    wide += full
    wide //= 2 * full
    grey = wide.astype(np.uint8)
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:  # white is zero; Pillow inverts only 8 bits
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    rgb = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert rgb is not None  # it is None only when done in place
    return rgb


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 to 8. A corrupt EXIF block says nothing about the pixels, so it counts as upright."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


@contextmanager
def _image_errors(name: str) -> Iterator[None]:
    """Whatever opening or decoding raises becomes an `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, "its header announces far more pixels") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"cannot read {name}", f"it is not an image of a known kind ({', '.join(FORMATS)}), or its head is damaged"
        ) from error
    except Exception as error:  # Pillow's plugins raise anything on damaged data
        raise _unreadable(name, error) from error


@contextmanager
def _file_errors(path: Path | str) -> Iterator[None]:
    """What the file system refuses becomes an `ImageError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(f"cannot read {path}", reason.lower()) from error


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name, f"it has {image.width} x {image.height} pixels")


def _check_header(image: Image.Image, name: str) -> None:
    """Refuse huge images, and small ones that cost as much: TIFF tiles larger than the picture."""
    _check_size(image, name)
    tags: Any = getattr(image, "tag_v2", {})
    tile = [tags.get(tag, 0) for tag in (ExifTags.Base.TileWidth, ExifTags.Base.TileLength)]
    if tile[0] * tile[1] > MAX_PIXELS:
        raise _too_large(name, f"its tiles have {tile[0]} x {tile[1]} pixels")


def _check_scans(image: Image.Image, data: bytes, name: str) -> None:
    """Refuse small JPEGs that cost like huge images, by endless scans."""
    if image.format in ("JPEG", "MPO"):
        scans = data.count(b"\xff\xda")
        if scans * image.width * image.height > _MAX_JPEG_SCANS * MAX_PIXELS:
            raise _too_large(name, f"it draws {image.width} x {image.height} pixels {scans} times over")


def _empty(name: str) -> ImageError:
    return ImageError(f"cannot read {name}", "it is empty")


def _file_too_large(path: Path | str) -> ImageTooLarge:
    return ImageTooLarge(f"{path} is too large", f"an image file may have {MAX_BYTES // 2**20} MiB")


def _too_large(name: str, reason: str) -> ImageTooLarge:
    return ImageTooLarge(f"{name} is too large", f"{reason}; {MAX_PIXELS} are allowed", "Scale it down first.")


def _unreadable(name: str, error: Exception) -> ImageError:
    if isinstance(error, MemoryError):
        return ImageError(f"cannot read {name}", "memory does not suffice to decode it")
    return ImageError(f"cannot read {name}", f"decoding failed: {str(error) or type(error).__name__}")
