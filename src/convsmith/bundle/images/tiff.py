"""Bands of a TIFF by its tags, and TIFFs whose pixels are another picture than the one that is meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from PIL import ExifTags, Image, TiffImagePlugin

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MANY_PAGES = "has several pages, of which only the first is read: bands of one image have to be in one page"
MORE_BANDS = "has more bands than red, green and blue, and only those are read: data.channels takes all of them"

_THREE_BANDS = (
    "Write red, green and blue alone, such as with "
    "`gdal_translate -b 1 -b 2 -b 3 -co PHOTOMETRIC=RGB -co ALPHA=NO IN OUT` (1, 2 and 3: your red, green and blue)."
)
_EIGHT_BITS = (
    "Train with preprocess.range=[LOWEST, HIGHEST]; or write 8 bits, such as with "
    "`gdal_translate -ot Byte -scale LOWEST HIGHEST 0 255 IN OUT`."
)
_GREY, _RGB, _YCBCR = (0, 1), 2, 6  # of PhotometricInterpretation
_UNSPECIFIED = 0  # of ExtraSamples
_SIGNED, _FLOAT = 2, 3  # of SampleFormat
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _MAX_SAMPLE_VALUE = 338, 339, 281
PREVIEW = 1
"""The bit of NewSubfileType that says so."""
_BAND_AFTER_BAND = 2  # of PlanarConfiguration


class Problem(NamedTuple):
    """Why a file cannot be read, and what to do about it."""

    why: str
    fix: str


def problem_of(tags: Mapping[int, Any]) -> Problem | None:
    """The reason why a TIFF that Pillow reads becomes another picture, as far as its tags tell."""
    bits, kind, bands = _layout(tags)
    grey = tags.get(ExifTags.Base.PhotometricInterpretation, 0) in _GREY
    if tags.get(ExifTags.Base.NewSubfileType, 0) & PREVIEW:
        return Problem(
            "its first picture is the small preview of another one, as in the raw files of cameras",
            "Export the photo itself as JPEG or PNG.",
        )
    if grey and bands - len([extra for extra in _extra(tags) if extra != _UNSPECIFIED]) > 1:
        unclear = f"it has {bands} bands and does not say which are red, green and blue"
        return Problem(unclear, _bands_to_write(bands))
    if kind == _SIGNED and bits == 8:
        return Problem("its pixels are signed bytes, whose range is not known", _EIGHT_BITS)
    if kind != _FLOAT and bits == 32:
        return Problem("its pixels are 32-bit integers, whose range is not known", _EIGHT_BITS)
    if kind == _FLOAT:
        return Problem("its pixels are floating-point numbers, whose range is not known", _EIGHT_BITS)
    separate = tags.get(ExifTags.Base.PlanarConfiguration) == _BAND_AFTER_BAND
    if separate and bits == 16 and bands > 1 and tags.get(ExifTags.Base.Compression, 1) == 1:
        return Problem(  # Pillow takes each half of a number for a pixel
            "it holds band after band in 16 bits without compression",
            "Write it with compression, such as with `gdal_translate -co COMPRESS=DEFLATE IN OUT`.",
        )
    return None


def why_unknown(file: IO[bytes]) -> Problem:
    """Why Pillow does not know the bands of a TIFF; `file` stands at its start."""
    head = file.read(16)
    big = head[2] == 43
    tags = TiffImagePlugin.ImageFileDirectory_v2(head if big else head[:8])
    file.seek(tags.next)
    tags.load(file)
    bits, kind, bands = _layout(tags)
    numbers = {_SIGNED: "signed ", _FLOAT: "floating-point "}.get(kind, "")
    colours = tags.get(ExifTags.Base.PhotometricInterpretation)
    what = f"it is a TIFF of {bands} band{'s' * (bands != 1)} of {bits} {numbers}bits (photometric {colours})"
    return problem_of(tags) or Problem(
        f"{what}, which cannot be read; 1 or 3 bands of 8 bits can",
        _EIGHT_BITS if bits != 8 else _bands_to_write(bands),
    )


def note_of(image: Image.Image) -> str | None:
    """The part of a TIFF that is left out, `MANY_PAGES` or `MORE_BANDS`."""
    tags: Mapping[int, Any] = image.tag_v2  # type: ignore[attr-defined]
    if tags.get(ExifTags.Base.PhotometricInterpretation) == _RGB and _undeclared(tags):
        return MORE_BANDS
    return MANY_PAGES if image.is_animated and _is_page(image, 1) else None  # type: ignore[attr-defined]


def has_undeclared_band(image: Image.Image) -> bool:
    """Whether the fourth band of RGBA is transparency only because Pillow takes it so; the file does not say it."""
    return _undeclared(_tags(image))


def problem_of_alpha(image: Image.Image, pixels: Image.Image) -> Problem | None:
    """The problem of a last band that counts as transparency, perhaps only because tools write so by default.

    Real transparency is opaque for the most part, with soft edges; near-infrared hardly ever is.

    Args:
        image: what the pixels come from.
        pixels: mode RGBA.
    """
    if not _tags(image):
        return None
    alpha = pixels.getchannel("A").histogram()
    partly, opaque = sum(alpha[1:255]), alpha[255]
    is_blank = not partly and _layout(_tags(image))[0] == 8 and pixels.getextrema()[:3] == ((0, 0),) * 3
    if partly <= opaque and (opaque or is_blank):
        return None
    share = 1 - opaque / sum(alpha)
    return Problem(
        f"its last band counts as transparency, but {share:.0%} of its pixels are not opaque: is it near-infrared?",
        f"{_bands_to_write(_layout(_tags(image))[2])} If it is transparency, save it as PNG.",
    )


def white_of(image: Image.Image) -> int:
    """The number that is white in a picture of 16 bits (12 in some TIFFs), where black is 0."""
    tags = _tags(image)
    bits, kind, _ = _layout(tags)
    if bits == 12:
        return 4095
    told = tags.get(_MAX_SAMPLE_VALUE)
    told = told[0] if isinstance(told, tuple) else told
    if isinstance(told, int) and 255 <= told < 65535:
        return told
    return 32767 if kind == _SIGNED and tags else 65535


def _bands_to_write(bands: int) -> str:
    return f"{_THREE_BANDS} Or train on all bands with data.channels={bands}."


def _tags(image: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF; none of other formats."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return tags


def _layout(tags: Mapping[int, Any]) -> tuple[int, int, int]:
    """Bits of a sample, kind of number (1 unsigned, `_SIGNED`, `_FLOAT`), samples of a pixel."""
    bits, kinds = tags.get(ExifTags.Base.BitsPerSample, (1,)), tags.get(_SAMPLE_FORMAT, (1,))
    return max(bits), max(kinds), tags.get(ExifTags.Base.SamplesPerPixel, 1)


def _extra(tags: Mapping[int, Any]) -> tuple[int, ...]:
    extra: tuple[int, ...] = tags.get(_EXTRA_SAMPLES, ())
    return extra


def _undeclared(tags: Mapping[int, Any]) -> bool:
    """Whether there are bands besides red, green and blue of which the file does not say that they are transparency."""
    if tags.get(ExifTags.Base.PhotometricInterpretation) != _RGB:
        return False
    return _layout(tags)[2] > 3 and all(extra == _UNSPECIFIED for extra in _extra(tags))


def _is_page(image: Image.Image, number: int) -> bool:
    """Whether a picture in the file is one of its own, not a smaller copy or the mask of another."""
    try:
        image.seek(number)
        kind: int = _tags(image).get(ExifTags.Base.NewSubfileType, 0)
        return kind in (0, 2)
    except Exception:  # it is damaged, and not what is read
        return False
    finally:
        image.seek(0)
