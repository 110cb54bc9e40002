"""The header of an ordinary JPEG, read without Pillow, which takes half as long to open a file as to decode it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from PIL import ExifTags

from convsmith.bundle.images.limits import max_pixels

_MOST_SEGMENTS, _MOST_BYTES = 100, 2**20  # of a header; no limit on what Pillow walks is lower
_FRAME, _SCAN, _APP1 = 0xC0, 0xDA, 0xE1  # the frame of baseline JPEGs alone: they are drawn once, by one scan
_PASSED = frozenset((0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))  # tables, comments, and what programs note
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_TAKEN_APART = (_EXIF, b"MPF\0", b"Photoshop 3.0\0")  # notes that Pillow reads more of than is worth doing here
_NEEDED = {b"JFIF": 14, b"ICC_PROFILE\0": 14, b"Adobe": 12}  # bytes that it needs of others
_MOST_NEEDED = max(_NEEDED.values())
_SHORT, _RATIONAL = 3, 5  # kinds of numbers in EXIF
_BYTES = {1: 1, 2: 1, _SHORT: 2, 4: 4, _RATIONAL: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # of each kind
_USUAL = {ExifTags.Base.Orientation: (_SHORT, 1), ExifTags.Base.XResolution: (_RATIONAL, 1)}  # what Pillow asks for


class JpegHeader(NamedTuple):
    """The facts in the header of a JPEG.

    Attributes:
        width: in pixels, as they lie in the file.
        height: likewise.
        orientation: EXIF's, 1 to 8; other numbers mean nothing.
    """

    width: int
    height: int
    orientation: int


def ordinary_header(data: bytes) -> JpegHeader | None:
    """The header of a baseline JPEG, grey or in colours; None where Pillow has to look.

    A file that has one is opened by Pillow too, with the same size and orientation, and is within all limits. Whatever
    leaves a doubt has none: damage, several EXIF blocks, padding, or a picture that is too large.
    """
    if not data.startswith(b"\xff\xd8"):
        return None
    place, end = 2, min(len(data), _MOST_BYTES)
    frame: tuple[int, int, int] | None = None
    orientation: int | None = None
    for _ in range(_MOST_SEGMENTS):
        if place + 4 > end:
            return None
        start, marker, length = struct.unpack_from(">BBH", data, place)
        segment, place = data[place + 4 : place + 2 + length], place + 2 + length
        if start != 0xFF or len(segment) != length - 2:
            return None
        if marker == _SCAN:
            is_whole = frame is not None and segment[:1] == bytes([frame[2]])
            return JpegHeader(*frame[:2], orientation or 1) if frame and is_whole else None
        if marker == _FRAME and frame is None:
            is_usual = (frame := _frame(segment)) is not None
        elif marker == _APP1 and orientation is None and segment.startswith(_EXIF):
            is_usual = (orientation := _orientation(segment[len(_EXIF) :])) is not None
        else:
            is_usual = marker in _PASSED and _is_harmless(segment)
        if not is_usual:
            return None
    return None


def _frame(segment: bytes) -> tuple[int, int, int] | None:
    """Width, height and layers of a picture of 8 bits that is not too large."""
    if len(segment) < 6:
        return None
    bits, height, width, layers = struct.unpack_from(">BHHB", segment)
    is_usual = bits == 8 and layers in (1, 3) and len(segment) == 6 + 3 * layers
    return (width, height, layers) if is_usual and 0 < width * height <= max_pixels() else None


def _is_harmless(segment: bytes) -> bool:
    """Whether Pillow takes nothing from it that the pixels depend on, and does not refuse the file for it."""
    if segment.startswith(_XMP):
        return b"tiff:Orientation" not in segment
    if segment.startswith(_TAKEN_APART):
        return False
    return len(segment) >= _MOST_NEEDED or not any(
        len(segment) < least and segment.startswith(name) for name, least in _NEEDED.items()
    )


def _orientation(exif: bytes) -> int | None:
    """The orientation in a block of EXIF whose first directory is sound; 1 if it has none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return None
    (place,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, place) if place + 2 <= len(exif) else (0,)
    listed = exif[place + 2 : place + 2 + 12 * count]
    if not count or len(listed) < 12 * count:
        return None
    orientation, total = None, 0
    for tag, kind, number, value in struct.iter_unpack(order + "HHI4s", listed):
        size = _BYTES.get(kind, 0) * number
        total += size if size > 4 else 0
        is_inside = size <= 4 or struct.unpack(order + "I", value)[0] + size <= len(exif)
        if not size or not is_inside or total > len(exif) or _USUAL.get(tag, (kind, number)) != (kind, number):
            return None
        if tag == ExifTags.Base.Orientation and orientation is None:
            (orientation,) = struct.unpack_from(order + "H", value)
    return 1 if orientation is None else orientation
