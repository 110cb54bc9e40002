"""Bytes of a mask file become values or colours: PNG, TIFF, BMP and NPY, of which each value is kept."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.images import tiff
from convsmith.bundle.images.decode import turn_upright
from convsmith.bundle.images.image_error import ImageError, ImageTooLarge
from convsmith.bundle.images.limits import max_pixels
from convsmith.bundle.images.open_image import open_image
from convsmith.data.contents import Content

Colour = tuple[int, int, int]
NPY = b"\x93NUMPY"
"""How an NPY file begins."""

_KINDS = ("PNG", "TIFF", "BMP")
_GREY = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "LA")
_LOSSY = ("jpeg", "tiff_jpeg", "webp")  # of a TIFF
_FEW_BITS = {"L;2": 85, "L;4": 17}  # Pillow spreads few bits over 0 to 255
_CONVERT = "Save it as PNG; what was a JPEG file has lost values, and must be made anew."


def decode_pixels(data: bytes, name: str) -> NDArray[Any]:
    """The whole numbers `[H, W]`, or colours uint8 `[H, W, 3]`, in the bytes of a mask file, upright.

    Raises:
        ImageTooLarge: more than `max_pixels()` pixels; before memory is taken for them.
        ImageError: of another kind, damaged, or of pixels that are not one number or one opaque colour each.
    """
    if data.startswith(NPY):
        return _array(data, name)
    try:
        with open_image(data, name) as image:
            return _pixels(image, name)
    except ImageError as error:
        if data.startswith(tiff.SIGNATURES) and "gdal_translate" in error.fix:  # what would mend an image
            raise unusable(name, error.why, "Write the number of the class in 8 or 16 bits, in one band.") from error
        raise


def pixels_in(mask: Content) -> NDArray[Any]:
    """`decode_pixels` of a content; errors name it."""
    return decode_pixels(mask.read(), mask.name)


def is_of_colours(mask: Content) -> bool:
    """Whether a mask is RGB, by its header. ImageError where it is not an image."""
    data = mask.read()
    if data.startswith(NPY):
        return False
    with open_image(data, mask.name) as image:
        return image.mode in ("RGB", "RGBA")


def unusable(name: str, why: str, fix: str = "") -> ImageError:
    """The error for a mask whose pixels are not classes."""
    return ImageError(f"cannot read {name}", why, fix)


def _pixels(image: Image.Image, name: str) -> NDArray[Any]:
    if image.format not in _KINDS:
        kinds = "PNG, TIFF, BMP and NPY"
        raise unusable(name, f"it is a {image.format} file, and only {kinds} are sure to keep each value", _CONVERT)
    if image.info.get("compression") in _LOSSY:
        raise unusable(name, "it is a TIFF compressed as a photograph, which does not keep each value", _CONVERT)
    if image.format == "TIFF" and tiff.note_of(image) == tiff.MANY_PAGES:
        raise unusable(name, "it has several pages", "Save one page, with a value for each class.")
    mode = image.mode
    if mode not in (*_GREY, "RGB", "RGBA"):
        raise unusable(name, f"it holds pixels of the kind {mode}", "Save it in grey, as whole numbers.")
    raw = _raw_mode(image)
    pixels = np.asarray(turn_upright(image, image))
    if mode in ("LA", "RGBA"):
        if pixels[..., -1].min() < 255:
            raise unusable(name, "parts of it are transparent", "Save it without an alpha channel.")
        pixels = pixels[..., 0] if mode == "LA" else pixels[..., :3]
    if ";16" in raw and not mode.startswith("I"):
        raise unusable(name, "it has colours of 16 bits", "Save it in grey, or with 8 bits for each colour.")
    if mode == "1":
        return pixels.astype(np.uint8)
    return pixels // np.uint8(_FEW_BITS[raw[:3]]) if raw[:3] in _FEW_BITS else pixels


def _raw_mode(image: Image.Image) -> str:
    """The mode in the file, such as L;4 for grey of 4 bits."""
    tiles: Any = getattr(image, "tile", [])
    arguments = tiles[0].args if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _array(data: bytes, name: str) -> NDArray[Any]:
    """The whole numbers in an NPY file; nothing in it is unpickled."""
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
    except Exception as error:  # numpy raises anything on damaged heads
        raise unusable(name, f"its head is not that of an NPY file: {error}", "Save it with numpy.save.") from error
    if len(shape) != 2 or dtype.kind not in "iub" or min(shape) < 1:
        why = f"it is an array {list(shape)} of {dtype}, not of whole numbers [height, width]"
        raise unusable(name, why, "Save the number of the class of each pixel.")
    if shape[0] * shape[1] > max_pixels():
        why = f"it has {shape[0]:,} x {shape[1]:,} values, and an image may have {max_pixels():,} pixels"
        raise ImageTooLarge(f"cannot read {name}", why, "Scale it down by nearest, with its image.")
    if len(data) - file.tell() != shape[0] * shape[1] * dtype.itemsize:
        raise unusable(name, "it is cut off, or more follows its values", "Save it again.")
    file.seek(0)
    found: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return found.astype(np.uint8) if dtype.kind == "b" else found
