"""Bytes of an image file become RGB: Pillow, eight bits, upright, and never anything worse than an `ImageError`."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.images.colours import eight_bit_rgb
from convsmith.bundle.images.jpeg import decode_jpeg, is_jpeg
from convsmith.bundle.images.jpeg_header import JpegHeader, ordinary_header
from convsmith.bundle.images.open_image import (
    LYING,
    check_size,
    image_errors,
    open_image,
    opened,
    orientation_of,
    unreadable,
)
from convsmith.bundle.images.read_bytes import read_bytes
from convsmith.errors import ConvsmithError

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

LeastSize = Callable[[tuple[int, int]], tuple[int, int]]
"""From height and width of an upright image, those in which it would do."""

Picture = Image.Image | NDArray[np.uint8]
"""An upright Pillow image of mode RGB, or RGB pixels [H, W, 3] that may be written to."""


def decode_image(data: bytes, name: str = "image") -> NDArray[np.uint8]:
    """RGB pixels [H, W, 3] in 0 to 255 of a JPEG (or MPO), PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC (first frame).

    Greyscale, palette, 1-bit, 16-bit grey, CMYK, YCbCr and LAB are converted, transparency lies on white, and the
    EXIF orientation is applied. Embedded colour profiles are not, as in torchvision. HEIC needs the extra `heic`.

    Args:
        data: the whole file.
        name: what an error calls it.

    Raises:
        ImageTooLarge: more than `max_pixels()` pixels.
        ImageError: not an image, damaged, of a kind with no 8-bit meaning (32-bit, floating point), 16 bits that would
            be almost black, or a TIFF of bands that are not red, green, blue and transparency.
    """
    return np.asarray(decode_rgb(data, name))


def read_image(path: Path) -> NDArray[np.uint8]:
    """`decode_image` of a file of at most `MAX_BYTES` bytes; errors name the file."""
    return decode_image(read_bytes(path), str(path))


def decode_rgb(data: bytes, name: str = "image", least: LeastSize | None = None) -> Picture:
    """`decode_image` as what its decoder gives, which saves a copy.

    Args:
        data: the whole file.
        name: what an error calls it.
        least: asked about a JPEG, which may be decoded smaller then; others are decoded in their own size.
    """
    header = ordinary_header(data)
    if header is not None:
        with image_errors(name):
            picture = _by_simplejpeg(data, header, least)
        if picture is not None:
            return picture
    with open_image(data, name) as image:
        # to ask others for an orientation would decode a PNG, and with that hide how many bits it has
        if header is None and is_jpeg(image):
            header = JpegHeader(image.width, image.height, orientation_of(image))
            picture = _by_simplejpeg(data, header, least)
            if picture is not None:
                return picture
        return to_rgb(image, name)


def _by_simplejpeg(data: bytes, header: JpegHeader, least: LeastSize | None) -> Picture | None:
    """The upright picture of a JPEG; None where Pillow has to decode it."""
    size, is_lying = (header.height, header.width), header.orientation in LYING
    wanted = None
    if least is not None:
        wanted = least(size[::-1] if is_lying else size)
        wanted = wanted[::-1] if is_lying else wanted
    pixels = decode_jpeg(data, size, wanted)
    method = _TRANSPOSE.get(header.orientation)
    return pixels if pixels is None or method is None else Image.fromarray(pixels).transpose(method)


def format_and_mode(data: bytes, name: str = "image") -> tuple[str, str]:
    """One of the `FORMATS`, MPO or HEIF, and Pillow's mode, of the content of an image that can be read."""
    with opened(io.BytesIO(data), name) as image:
        return str(image.format), image.mode


def as_pillow(picture: Picture) -> Image.Image:
    """The picture as a Pillow image of mode RGB."""
    return picture if isinstance(picture, Image.Image) else Image.fromarray(picture)


def for_eyes(picture: Picture) -> Picture:
    """RGB of a picture of any channels, for people: grey where there are fewer than three, else the first three."""
    if isinstance(picture, Image.Image) or picture.shape[2] == 3:
        return picture
    shown = picture[:, :, :3] if picture.shape[2] > 3 else picture[:, :, [0, 0, 0]]
    return np.ascontiguousarray(shown)


def size_of(picture: Picture) -> tuple[int, int]:
    """Width and height."""
    return picture.size if isinstance(picture, Image.Image) else (picture.shape[1], picture.shape[0])


def to_rgb(image: Image.Image, name: str = "image") -> Image.Image:
    """Any Pillow image as upright RGB, by the rules of `decode_image`."""
    check_size(image, name)
    # of colours of 16 bits Pillow keeps the high bytes
    is_cut = image.mode in ("RGB", "RGBA", "LA") and ";16" in str(getattr(image, "tile", ""))
    try:
        image.load()
        return turn_upright(image, eight_bit_rgb(image, name, is_cut))
    except ConvsmithError:
        raise
    except Exception as error:  # see decode_rgb
        raise unreadable(name, error) from error


def turn_upright(image: Image.Image, pixels: Image.Image) -> Image.Image:
    """`pixels`, turned and mirrored as the EXIF orientation of `image` says."""
    method = _TRANSPOSE.get(orientation_of(image))
    if method is not None:
        pixels = pixels.transpose(method)
        pixels.info = {}  # Pillow would keep the orientation, and a second call would turn the image again
    return pixels
