"""How large images may be, in bytes and in pixels: limits that hold before memory is taken."""

from __future__ import annotations

import os

from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.errors import ConvsmithError

MAX_PIXELS = 64 * 1024 * 1024
MAX_PIXELS_VARIABLE = "CONVSMITH_MAX_PIXELS"
MAX_BYTES = 256 * 1024 * 1024
_BYTES_OF_PIXEL = 4  # which the limit on pixels allows for


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


def check_bytes(width: int, height: int, size: int, name: str) -> None:
    """Raise an ImageTooLarge for too many pixels, or for too many bytes if each has `size`."""
    if width * height > max_pixels():
        raise too_large(name, f"it has {width} x {height} = {width * height} pixels")
    if width * height * size > _BYTES_OF_PIXEL * max_pixels():
        counted = width * height * size // _BYTES_OF_PIXEL
        raise too_large(name, f"it has {width} x {height} pixels of {size} bytes, which count as {counted}")


def file_too_large(name: str) -> ImageTooLarge:
    """The error for a file of more than `MAX_BYTES` bytes."""
    return ImageTooLarge(f"{name} is too large", f"an image file may have {MAX_BYTES // 2**20} MiB")


def too_large(name: str, reason: str) -> ImageTooLarge:
    """The error for an image with more pixels than `max_pixels()`, or what counts as such."""
    return ImageTooLarge(
        f"{name} is too large",
        f"{reason}; {max_pixels()} are allowed",
        f"Scale it down, or set data.max_pixels or {MAX_PIXELS_VARIABLE} to allow more.",
    )
