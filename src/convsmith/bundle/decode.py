"""Bytes of an image file become RGB: Pillow, eight bits, upright, and never anything worse than an `ImageError`."""

from __future__ import annotations

import io
import logging
import mmap
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from convsmith.bundle import tiff
from convsmith.bundle.colours import eight_bit_rgb
from convsmith.bundle.image_error import ImageError, ImageTooLarge, NoAnswer
from convsmith.bundle.jpeg import decode_jpeg, is_jpeg
from convsmith.bundle.png_texts import without_large_texts
from convsmith.bundle.signatures import kind_of
from convsmith.bundle.structure import count_pieces
from convsmith.errors import ConvsmithError, require_extra
from convsmith.waiting import answer_of, open_file

__all__ = ["ImageError", "ImageTooLarge", "NoAnswer"]  # which others take from here, besides what is defined here

logger = logging.getLogger(__name__)

Image.init()  # or Pillow imports its plugins when the first image is opened, and a child forked meanwhile would hang

MAX_PIXELS = 64 * 1024 * 1024
MAX_PIXELS_VARIABLE = "CONVSMITH_MAX_PIXELS"
MAX_BYTES = 256 * 1024 * 1024
_BYTES_OF_PIXEL = 4  # which the limit on pixels allows for
_USUAL_BYTES = 2**20  # read() makes room for all that it may return, so the limit itself would cost a lot for each file
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")  # Pillow's JPEG reads MPO too
IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".avif"),
        *(".heic", ".heif", ".hif"),  # with the extra `heic`; without, each is an error that says so
    )
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


LeastSize = Callable[[tuple[int, int]], tuple[int, int]]
"""From height and width of an upright image, those in which it would do."""

Picture = Image.Image | NDArray[np.uint8]
"""An upright Pillow image of mode RGB, or RGB pixels [H, W, 3] that may be written to."""


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
    with open_image(data, name) as image:
        if not is_jpeg(image):  # to ask for an orientation would decode a PNG, and with that hide how many bits it has
            return to_rgb(image, name)
        orientation = _orientation(image)
        size = None
        if least is not None:
            size = least(image.size if orientation in _LYING else (image.height, image.width))
            size = (size[1], size[0]) if orientation in _LYING else size
        pixels = decode_jpeg(data, image, size)
        if pixels is None:
            return to_rgb(image, name)
        return pixels if orientation not in _TRANSPOSE else turn_upright(image, Image.fromarray(pixels))


def format_and_mode(data: bytes, name: str = "image") -> tuple[str, str]:
    """One of the `FORMATS`, MPO or HEIF, and Pillow's mode, of the content of an image that can be read."""
    with _opened(io.BytesIO(data), name) as image:
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
        with _opened(io.BytesIO(without_large_texts(data)), name) as image:
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
        raise _file_too_large(name)
    with mapped(file) as content, image_errors(name):
        count_pieces(content, name, to_pixels=True)
    file.seek(0)
    with image_errors(name), _opened(file, name) as image:
        _check_header(image, name)
        # Pillow itself turns TIFFs, and would decode the pixels of a PNG to look for an orientation behind them.
        asks = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        width, height = image.size[::-1] if asks and _orientation(image) in _LYING else image.size
        return Header(width, height, str(image.format), image.mode)


@contextmanager
def mapped(file: IO[bytes]) -> Iterator[bytes | mmap.mmap]:
    """The bytes of an open file: mapped, or read where it has no number in the file system."""
    try:
        number = file.fileno()
    except OSError:
        yield file.read()
        return
    file.read(1)  # a disk that is gone is waited for here, where other threads go on; a page of the map stops them all
    with mmap.mmap(number, 0, access=mmap.ACCESS_READ) as content:
        yield content


def max_pixels() -> int:
    """How many pixels an image may have: `MAX_PIXELS`, or what CONVSMITH_MAX_PIXELS says.

    Raises:
        ConvsmithError: that is not a whole number above 0.
    """
    told = os.environ.get(MAX_PIXELS_VARIABLE, "")
    if not told:
        return MAX_PIXELS
    if not told.isdecimal() or not int(told):
        raise ConvsmithError(
            f"{MAX_PIXELS_VARIABLE} is `{told}`", "it says how many pixels an image may have", "Set a whole number."
        )
    return int(told)


def read_bytes(path: Path) -> bytes:
    """The content of a file, or a pipe, of at most `MAX_BYTES` bytes.

    Raises:
        ImageError: it cannot be read.
        NotAnswering: it gives nothing for long.
    """

    def read() -> bytes:
        with path.open("rb") as file:
            return read_open(file, str(path))

    with file_errors(path):
        return answer_of(read, str(path))


def read_open(file: IO[bytes], name: str) -> bytes:
    """The rest of an open file, at most `MAX_BYTES` bytes. ImageTooLarge if there are more."""
    data = file.read(_USUAL_BYTES)
    if len(data) == _USUAL_BYTES:
        data += file.read(MAX_BYTES + 1 - _USUAL_BYTES)
    if len(data) > MAX_BYTES:
        raise _file_too_large(name)
    return data


def read_stream(file: IO[bytes], name: str) -> bytes:
    """The content of an open file of at most `MAX_BYTES` bytes, from its start where it can be wound back."""
    chunks, size = [], 0
    with file_errors(name):
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
    # of colours of 16 bits Pillow keeps the high bytes
    is_cut = image.mode in ("RGB", "RGBA", "LA") and ";16" in str(getattr(image, "tile", ""))
    try:
        image.load()
        return turn_upright(image, eight_bit_rgb(image, name, is_cut))
    except ConvsmithError:
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


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 to 8. A corrupt EXIF block says nothing about the pixels, so it counts as upright."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _opened(file: IO[bytes], name: str) -> Image.Image:
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
        raise _too_large(name, f"it has {pixels[0] if pixels else 'far more'} pixels") from error
    except Exception as error:  # Pillow's plugins raise anything on damaged data
        raise _unreadable(name, error) from error


@contextmanager
def file_errors(path: Path | str) -> Iterator[None]:
    """Raise an `ImageError` in place of an error of the file system."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(f"cannot read {path}", reason.lower()) from error


def check_bytes(width: int, height: int, size: int, name: str) -> None:
    """Raise an ImageTooLarge for too many pixels, or for too many bytes if each has `size`."""
    if width * height > max_pixels():
        raise _too_large(name, f"it has {width} x {height} = {width * height} pixels")
    if width * height * size > _BYTES_OF_PIXEL * max_pixels():
        counted = width * height * size // _BYTES_OF_PIXEL
        raise _too_large(name, f"it has {width} x {height} pixels of {size} bytes, which count as {counted}")


def _check_size(image: Image.Image, name: str) -> None:
    check_bytes(image.width, image.height, 1, name)


def _check_header(image: Image.Image, name: str) -> None:
    """Refuse huge images, small ones that cost as much (TIFF tiles larger than the picture), and unclear bands."""
    _check_size(image, name)
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:
        return
    tile = [tags.get(tag, 0) for tag in (ExifTags.Base.TileWidth, ExifTags.Base.TileLength)]
    if tile[0] * tile[1] > max_pixels():
        raise _too_large(name, f"its tiles have {tile[0]} x {tile[1]} pixels")
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
            raise _too_large(name, f"it draws {image.width} x {image.height} pixels {scans} times over")


def _empty(name: str) -> ImageError:
    return ImageError(f"cannot read {name}", "it is empty")


def _file_too_large(name: str) -> ImageTooLarge:
    return ImageTooLarge(f"{name} is too large", f"an image file may have {MAX_BYTES // 2**20} MiB")


def _too_large(name: str, reason: str) -> ImageTooLarge:
    return ImageTooLarge(
        f"{name} is too large",
        f"{reason}; {max_pixels()} are allowed",
        f"Scale it down, or set data.max_pixels or {MAX_PIXELS_VARIABLE} to allow more.",
    )


def _unreadable(name: str, error: Exception) -> ImageError:
    if isinstance(error, MemoryError):
        return ImageError(f"cannot read {name}", "memory does not suffice to decode it")
    return ImageError(f"cannot read {name}", f"decoding failed: {str(error) or type(error).__name__}")
