"""The cost of decoding an image, read off its header, and how much a server spends on one that anybody sends."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping

from PIL import ExifTags, Image

from convsmith.bundle.images.bands import measure_array
from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.bundle.images.limits import MAX_PIXELS_VARIABLE, max_pixels
from convsmith.bundle.images.open_image import open_header
from convsmith.bundle.images.structure import count_pieces
from convsmith.errors import ConvsmithError
from convsmith.spec import RGB, Bands

SERVED_PIXELS = 25_000_000  # the largest photos that telephones take by default have 24.5 million
LONGEST_SIDE = 65_535  # of a JPEG; Pillow needs time and memory for each row, however short
MOST_PIECES = 16_384
MOST_BYTES = 16  # a pixel of a JPEG or PNG, and a MiB besides
BYTES_OF_PIXEL = 17  # of memory while the costliest kind, WebP, is decoded

_COPIES_OF_ARRAY = 4  # of several channels are held at once: as they lie, unpacked, in order, and as bytes
_RUNS_WEIGH = 16  # Pillow decodes compressed BMPs in Python
_SCANS_OF_PIXEL = 16  # of a JPEG cost as much as a pixel without them
_WORK_OF_PIECE = 500  # pixels are decoded while a strip is begun
_BYTES_OF_WORK = 4  # are looked at while a pixel is decoded


def served_pixels(asked: int | None) -> int:
    """How many pixels a served image may have: what was asked for, what CONVSMITH_MAX_PIXELS says, or 25 million.

    Raises:
        ConvsmithError: more is asked for than is ever decoded.
    """
    most = max_pixels()
    if asked is None:
        return most if os.environ.get(MAX_PIXELS_VARIABLE) else SERVED_PIXELS
    if asked > most:
        raise ConvsmithError(
            f"--max-pixels {asked} is more than is ever decoded",
            f"the limit is {most:,}",
            f"Lower it, or set {MAX_PIXELS_VARIABLE} too.",
        )
    return asked


def weigh(data: bytes, name: str, most: int, bands: Bands = RGB) -> int:
    """The work of decoding an image, in pixels of an ordinary one, without decoding it.

    Args:
        data: the whole file.
        name: what an error calls it.
        most: work that is allowed; where a pixel costs more than usual, as in 16 bits of several bands, in many scans
            or in a compressed BMP, fewer pixels are.
        bands: what is to be read of it.

    Raises:
        ImageTooLarge: it is more, or a side or the number of pieces is beyond what is served.
        ImageError: the file cannot be read.
    """
    array = measure_array(io.BytesIO(data), name, bands)
    if array is not None:
        width, height, has_too_many_bytes = array.width, array.height, False
        weight = max(1.0, _COPIES_OF_ARRAY * array.bytes / BYTES_OF_PIXEL)
    else:
        with open_header(data, name) as image:
            width, height = image.size
            is_one_picture = image.format in ("JPEG", "PNG")
            has_too_many_bytes = is_one_picture and len(data) > 2**20 + MOST_BYTES * width * height
            weight = 1 if has_too_many_bytes else _weight(image, data)
    pieces = 0 if has_too_many_bytes else count_pieces(data, name)  # looks at every byte
    work = round(width * height * weight)
    if work > most:
        costly = f" of a kind that counts {weight:.3g} times" if weight > 1 else ""
        why = f"it has {width} x {height} pixels{costly}; {most:,} are allowed here"
    elif max(width, height) > LONGEST_SIDE:
        why = f"it has {width} x {height} pixels; a side of {LONGEST_SIDE:,} is allowed here"
    elif pieces > MOST_PIECES:
        why = f"it has {pieces:,} strips, tiles or chunks; {MOST_PIECES:,} are allowed here"
    elif has_too_many_bytes:
        why = f"it has {len(data):,} bytes for {width} x {height} pixels"
    else:
        return work + _WORK_OF_PIECE * pieces + len(data) // _BYTES_OF_WORK
    raise ImageTooLarge(f"{name} is too large", why, "Scale it down, or save it as an ordinary JPEG or PNG.")


def _weight(image: Image.Image, data: bytes) -> float:
    """How many times what is usual a pixel costs, in time or memory."""
    tiles = getattr(image, "tile", [])
    if tiles and tiles[0][0] == "bmp_rle":
        return _RUNS_WEIGH
    if image.format in ("JPEG", "MPO"):
        return max(1, data.count(b"\xff\xda") / _SCANS_OF_PIXEL)
    bits = 2 if ";16" in str(tiles[:1]) and image.mode in ("RGB", "RGBA", "LA") else 1
    return bits * _drawn_in_tiles(image)


def _drawn_in_tiles(image: Image.Image) -> float:
    """How many times its pixels are drawn: the tiles of a TIFF are whole, however little of the last is picture."""
    tags: Mapping[int, int] = getattr(image, "tag_v2", {})
    sides = (tags.get(ExifTags.Base.TileWidth, 1), tags.get(ExifTags.Base.TileLength, 1))
    return math.prod(-(-length // side) * side / length for length, side in zip(image.size, sides, strict=True))
