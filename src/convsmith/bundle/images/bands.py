"""Images of any number of channels, of 8 bits and more: the same pixels in training, predict and serve."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.images import npy, tiff, tiff_bands
from convsmith.bundle.images.decode import LeastSize, Picture, decode_rgb, to_rgb, turn_upright
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.images.limits import check_bytes
from convsmith.bundle.images.open_image import Header, image_errors, open_image, read_open_header
from convsmith.bundle.images.read_bytes import mapped
from convsmith.bundle.images.scaling import check_channels, fitted
from convsmith.bundle.images.structure import count_pieces
from convsmith.spec import RGB, Bands

_MODES = {2: "LA", 4: "RGBA"}  # of Pillow's images that are taken as they are, by the number of channels
_CHANNELS = {"1": 1, "L": 1, "I": 1, "F": 1, "LA": 2, "RGBA": 4}  # of its modes; of others 3


class Measured(NamedTuple):
    """The facts that the header of a file tells.

    Attributes:
        width: of the upright image in pixels.
        height: of it.
        bytes: of a pixel while it is decoded.
    """

    width: int
    height: int
    bytes: int


class _Numbers(NamedTuple):
    """An array of numbers in a file."""

    format: str
    width: int
    height: int
    channels: int
    dtype: np.dtype[Any]
    read: Callable[[bytes], NDArray[Any]]


def decode(data: bytes, name: str = "image", bands: Bands = RGB, least: LeastSize | None = None) -> Picture:
    """The pixels of an image file: an upright RGB picture as of `decode_rgb`, or bytes [H, W, C].

    Numbers of more than 8 bits are scaled from `bands.range`, and cut off beyond it. TIFF and NumPy's files have any
    number of channels; RGBA has four, grey and colours that are all equal have one.

    Args:
        data: the whole file.
        name: what an error calls it.
        bands: what is to be read of it.
        least: as in `decode_rgb`.

    Raises:
        ImageTooLarge: more than `max_pixels()` pixels, or too many bytes for them.
        ImageError: damaged, of another number of channels, or of a range that is not known; it names the key.
    """
    if bands == RGB and not data.startswith(npy.MAGIC):
        return decode_rgb(data, name, least)
    with image_errors(name):
        numbers = _numbers_in(io.BytesIO(data), name, bands)
        if numbers is not None:
            return fitted(numbers.read(data), name, bands)
    with open_image(data, name) as image:
        _check_mode(image.mode, name, bands)
        values = _stored(image, name, bands)
    return fitted(np.asarray(decode_rgb(data, name, least)) if values is None else values, name, bands)


def of_pillow(image: Image.Image, name: str, bands: Bands) -> Picture:
    """`decode` of an image that Pillow has opened."""
    if bands == RGB:
        return to_rgb(image, name)
    with image_errors(name):
        _check_mode(image.mode, name, bands)
        values = _stored(image, name, bands)
    return fitted(np.asarray(to_rgb(image, name)) if values is None else values, name, bands)


def read_header(file: IO[bytes], name: str, bands: Bands = RGB) -> Header:
    """The header of an open file that can be wound back; raises what `decode` would, as far as that tells."""
    with image_errors(name):
        numbers = _numbers_in(file, name, bands)
        if numbers is not None:
            check_channels(numbers.channels, name, bands.channels)
            return Header(numbers.width, numbers.height, numbers.format, numbers.dtype.name)
    file.seek(0)
    header = read_open_header(file, name)
    _check_mode(header.mode, name, bands)
    return header


def measure_array(file: IO[bytes], name: str, bands: Bands = RGB) -> Measured | None:
    """The size of an image in a file of NumPy, or in a TIFF of other pixels than RGB; None of any other file."""
    with image_errors(name):
        numbers = _numbers_in(file, name, bands)
        if numbers is None:
            return None
        check_channels(numbers.channels, name, bands.channels)
        return Measured(numbers.width, numbers.height, numbers.channels * numbers.dtype.itemsize)


def _numbers_in(file: IO[bytes], name: str, bands: Bands) -> _Numbers | None:
    """The array in a file of NumPy, or in a TIFF of other pixels than RGB or grey of 8 bits; None in any other."""
    head = file.read(npy.HEADER)
    found = None
    if head.startswith(npy.MAGIC):
        layout = npy.layout_of(head, name)
        height, width, channels = npy.size_of(layout.shape, bands.channels)
        found = _Numbers("NPY", width, height, channels, layout.dtype, lambda data: npy.values_of(data, layout))
    elif bands != RGB and head.startswith(tiff.SIGNATURES):
        with mapped(file) as content:
            count_pieces(content, name, to_pixels=True)
        file.seek(0)
        found = _numbers_of_tiff(file, name, bands.channels)
    if found is not None:
        check_bytes(found.width, found.height, found.channels * found.dtype.itemsize, name)
    return found


def _numbers_of_tiff(file: IO[bytes], name: str, channels: int) -> _Numbers | None:
    """The bands of its first page; or pages of one band each, where there are as many as channels are expected."""
    pages = tiff_bands.pages_of(file, channels + 1)
    file.seek(0)
    order = file.read(2)
    layouts = [tiff_bands.layout_of(tags, order) for tags in pages]
    layout = layouts[0] if layouts else None
    if layout is None:
        return None
    check_bytes(*layout.tile, layout.bands * layout.dtype.itemsize, name)
    is_stack = layout.bands == 1 and len(layouts) == channels and all(it == layout for it in layouts)
    read = pages if is_stack else pages[:1]
    height, width = layout.size
    return _Numbers(
        "TIFF",
        width,
        height,
        layout.bands * len(read),
        layout.dtype,
        lambda data: tiff_bands.read_bands(data, read, layout, name),
    )


def _check_mode(mode: str, name: str, bands: Bands) -> None:
    """Raise an ImageError if Pillow's mode tells another number of channels; RGB may be grey that is saved so."""
    if bands.channels not in (1, 3):
        check_channels(_CHANNELS.get(mode.partition(";")[0], 3), name, bands.channels)


def _stored(image: Image.Image, name: str, bands: Bands) -> NDArray[Any] | None:
    """The numbers of a Pillow image as they are stored, upright; None where it is to become RGB first."""
    is_grey = image.mode == "I" or image.mode.startswith("I;16")
    if not (is_grey or bands.range or image.mode == _MODES.get(bands.channels)):
        return None
    if ";16" in str(getattr(image, "tile", "")) and not is_grey:
        raise ImageError(
            f"cannot read {name}",
            f"of several channels of 16 bits in a {image.format} file only 8 bits can be read",
            "Save it as TIFF, or with numpy.save.",
        )
    return np.asarray(turn_upright(image, image)) if is_grey or image.mode == _MODES.get(bands.channels) else None
