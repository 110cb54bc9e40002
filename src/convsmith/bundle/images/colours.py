"""Pixels of any kind become red, green and blue of eight bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from convsmith.bundle.images import tiff
from convsmith.bundle.images.image_error import ImageError

_AT_ONCE = 2**20  # pixels
_DARK = 8  # an image of 16 bits that uses less than this part of its range is taken for one of fewer bits


def eight_bit_rgb(image: Image.Image, name: str, is_cut: bool) -> Image.Image:
    """RGB of a Pillow image whose pixels are loaded, as it lies.

    Args:
        image: of any mode.
        name: what an error calls it.
        is_cut: whether the pixels are the high bytes of 16 bits.

    Raises:
        ImageError: its pixels have no 8-bit meaning, or are not red, green, blue and transparency.
    """
    mode = image.mode
    if is_cut and np.asarray(image)[..., : 1 if mode == "LA" else 3].max() < 256 // _DARK:
        raise _too_dark(name, f"no value is above {65536 // _DARK - 1:,} of 65,535", 65536 // _DARK - 1)
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
    if mode == "RGBA" and tiff.has_undeclared_band(image):
        return image.convert("RGB")
    if problem := tiff.problem_of_alpha(image, pixels):
        raise ImageError(f"cannot read {name}", *problem)
    on_white = Image.new("RGB", image.size, "white")
    on_white.paste(pixels, mask=pixels)
    return on_white


def _from_16_bit(image: Image.Image, name: str) -> Image.Image:
    """Grey of 16 bits (12 in some TIFFs) to 8, by rounding; Pillow's own conversion clips."""
    values = np.asarray(image)
    if image.mode == "I" and (values.min() < 0 or values.max() > 65535):
        raise ImageError(f"cannot read {name}", "its pixels are 32-bit integers, whose range is not known")
    tags: Any = getattr(image, "tag_v2", {})
    full, highest = tiff.white_of(image), int(values.max())
    full = full if highest <= full else 65535
    if 0 < highest * _DARK <= full:
        raise _too_dark(name, f"its highest value is {highest:,} of {full:,}", highest)
    grey = np.empty(values.shape, np.uint8)
    rows = max(1, _AT_ONCE // image.width)  # some at a time: the largest images need every byte
    for top in range(0, image.height, rows):
        wide = values[top : top + rows].astype(np.uint32)
        wide *= 2 * 255
        wide += full
        wide //= 2 * full
        grey[top : top + rows] = wide
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:  # white is zero; Pillow inverts only 8 bits
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _too_dark(name: str, seen: str, highest: int) -> ImageError:
    white = 2 ** highest.bit_length() - 1
    return ImageError(
        f"cannot read {name}",
        f"it has 16 bits, but {seen}: as fewer bits kept in 16, of which 8 bits show next to nothing",
        f"Train with preprocess.range=[0, {white}]; or write 8 bits, as "
        f"`gdal_translate -ot Byte -scale 0 {white} 0 255 IN OUT` does.",
    )


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    rgb = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert rgb is not None  # it is None only when done in place
    return rgb
