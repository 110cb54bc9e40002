"""Opening an image as far as its header, with all checks that need no pixel."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from convsmith.bundle.images import tiff
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.images.limits import MAX_BYTES, check_bytes, file_too_large, max_pixels, too_large
from convsmith.bundle.images.png_texts import without_large_texts
from convsmith.bundle.images.read_bytes import file_errors, mapped
from convsmith.bundle.images.signatures import kind_of
from convsmith.bundle.images.structure import count_pieces
from convsmith.errors import ConvsmithError, require_extra
from convsmith.waiting import answer_of, open_file

logger = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")  # Pillow's JPEG reads MPO too

# Or Pillow imports plugins when the first image is opened, and a child forked meanwhile would hang. Those that it has
# for other formats, 30 of them, take longer than these.
Image.preinit()  # JPEG, PNG, BMP, GIF
for _plugin in ("Avif", "Mpo", "Tiff", "WebP"):
    import_module(f"PIL.{_plugin}ImagePlugin")

IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".avif"),
        *(".heic", ".heif", ".hif"),  # with the extra `heic`; without, each is an error that says so
    )
)
_MAX_JPEG_SCANS = 100  # of the largest image; smaller ones may have more in the same time
LYING = frozenset((5, 6, 7, 8))  # orientations that swap width and height


class Header(NamedTuple):
    """Facts in the header of an image file.

    Attributes:
        width: in pixels, of the upright image; an orientation that stands behind the pixels of a PNG is not known.
        height: likewise.
        format: one of the `FORMATS`, MPO or HEIF.
        mode: Pillow's, such as RGB, L for grey, or P for a palette.
    """

    width: int
    height: int
    format: str
    mode: str


@contextmanager
def open_image(data: bytes, name: str = "image") -> Iterator[Image.Image]:
    """A Pillow image of any of the `FORMATS`, found small enough to be decoded, which it is not yet.

    Whatever goes wrong then becomes an `ImageError` as in `decode_image`.
    """
    with open_header(data, name) as image:
        _check_scans(image, data, name)
        if isinstance(image, JpegImageFile):  # or what its decoder cannot use yet is copied with each further block
            image.decodermaxblock = max(image.decodermaxblock, len(data))
        yield image


@contextmanager
def open_header(data: bytes, name: str = "image") -> Iterator[Image.Image]:
    """`open_image` without a look at what lies behind the header of a JPEG, which takes its time."""
    if not data:
        raise _empty(name)
    with image_errors(name):
        count_pieces(data, name)
        with opened(io.BytesIO(without_large_texts(data)), name) as image:
            _check_header(image, name)
            yield image


def check_header(path: Path) -> tuple[int, int]:
    """Raise the `ImageError` that `read_image` would, as far as the size and the header of the file tell.

    Returns:
        Width and height in pixels of the upright image; an orientation that stands behind the pixels of a PNG is not
        known.
    """

    def check() -> tuple[int, int]:
        with open_file(path) as file:
            return read_open_header(file, str(path))[:2]

    with file_errors(path):
        return answer_of(check, str(path))


def read_open_header(file: IO[bytes], name: str) -> Header:
    """The header of an open file that can be wound back; one of the file system is not read as a whole.

    Raises:
        ImageError: what `read_image` would raise, as far as the size and the header of the file tell.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if not size:
        raise _empty(name)
    if size > MAX_BYTES:
        raise file_too_large(name)
    with mapped(file) as content, image_errors(name):
        count_pieces(content, name, to_pixels=True)
    file.seek(0)
    with image_errors(name), opened(file, name) as image:
        _check_header(image, name)
        # Pillow itself turns TIFFs, and would decode the pixels of a PNG to look for an orientation behind them.
        asks = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        width, height = image.size[::-1] if asks and orientation_of(image) in LYING else image.size
        return Header(width, height, str(image.format), image.mode)


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 1 to 8. A corrupt EXIF block says nothing about the pixels, so it counts as upright."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def opened(file: IO[bytes], name: str) -> Image.Image:
    """`Image.open` of any of the `FORMATS`, and of HEIC where its extra is installed."""
    if max_pixels() > (Image.MAX_IMAGE_PIXELS or max_pixels()):
        Image.MAX_IMAGE_PIXELS = max_pixels()  # Pillow has a limit of its own
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        file.seek(0)
        head = file.read(160)
        file.seek(0)
        kind = kind_of(head)
        if kind == "HEIF" and _can_read_heif():
            return _open_heif(file, name)
        if kind == "HEIF":
            needed = require_extra("pillow_heif", "a HEIC image")
            raise ImageError(f"cannot read {name}", f"{needed.what}: {needed.why}", needed.fix) from error
        if head.startswith(tiff.SIGNATURES):
            raise ImageError(f"cannot read {name}", *tiff.why_unknown(file)) from error
        known = f"not an image of a known kind ({', '.join(FORMATS)})"
        why = f"it is a {kind} file, {known}" if kind else f"it is {known}, or its head is damaged"
        raise ImageError(f"cannot read {name}", why, "Save it as JPEG or PNG.") from error
    except ValueError:
        file.seek(0)
        data = file.read(MAX_BYTES)
        if (fewer := without_large_texts(data)) is data:
            raise
        return Image.open(io.BytesIO(fewer), formats=FORMATS)


def _open_heif(file: IO[bytes], name: str) -> Image.Image:
    try:
        return Image.open(file, formats=("HEIF",))
    except UnidentifiedImageError as error:
        raise ImageError(f"cannot read {name}", "it is a HEIC file, but damaged or of another kind") from error


@cache
def _can_read_heif() -> bool:
    """Whether the package is there that reads it; Pillow then knows of it."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


@contextmanager
def image_errors(name: str) -> Iterator[None]:
    """Whatever opening or decoding raises becomes an `ImageError`."""
    try:
        yield
    except ConvsmithError:  # of the image, or of the limit that the environment sets
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = re.search(r"\d+", str(error))
        raise too_large(name, f"it has {pixels[0] if pixels else 'far more'} pixels") from error
    except Exception as error:  # Pillow's plugins raise anything on damaged data
        raise unreadable(name, error) from error


def check_size(image: Image.Image, name: str) -> None:
    """Raise an ImageTooLarge for too many pixels."""
    check_bytes(image.width, image.height, 1, name)


def _check_header(image: Image.Image, name: str) -> None:
    """Refuse huge images, small ones that cost as much (TIFF tiles larger than the picture), and unclear bands."""
    check_size(image, name)
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:
        return
    tile = [tags.get(tag, 0) for tag in (ExifTags.Base.TileWidth, ExifTags.Base.TileLength)]
    if tile[0] * tile[1] > max_pixels():
        raise too_large(name, f"its tiles have {tile[0]} x {tile[1]} pixels")
    if problem := tiff.problem_of(tags):
        raise ImageError(f"cannot read {name}", *problem)
    if note := tiff.note_of(image):
        _note(note, name)


_noted: set[str] = set()


def _note(what: str, name: str) -> None:
    """Say it of the first file; of many it would fill the screen."""
    if what not in _noted:
        _noted.add(what)
        logger.warning("%s %s (said of the first such file only)", name, what)


def _check_scans(image: Image.Image, data: bytes, name: str) -> None:
    """Refuse small JPEGs that cost like huge images, by endless scans."""
    if image.format in ("JPEG", "MPO"):
        values = np.frombuffer(data, np.uint8)
        scans = np.count_nonzero((values[:-1] == 0xFF) & (values[1:] == 0xDA))  # data.count takes seven times as long
        if scans * image.width * image.height > _MAX_JPEG_SCANS * max_pixels():
            raise too_large(name, f"it draws {image.width} x {image.height} pixels {scans} times over")


def _empty(name: str) -> ImageError:
    return ImageError(f"cannot read {name}", "it is empty")


def unreadable(name: str, error: Exception) -> ImageError:
    """The error for whatever decoding has raised."""
    if isinstance(error, MemoryError):
        return ImageError(f"cannot read {name}", "memory does not suffice to decode it")
    return ImageError(f"cannot read {name}", f"decoding failed: {str(error) or type(error).__name__}")
