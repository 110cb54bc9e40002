"""How many pieces an image file has, counted before Pillow handles them one by one; absurd numbers are refused.

Pillow walks segments, chunks, blocks and strips in Python, some in quadratic time, so that a file of megabytes of empty
ones would hold it for a minute. Each count here ends at its limit, far beyond what any program writes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from mmap import mmap

from PIL.JpegImagePlugin import MARKER

from convsmith.bundle.images import tiff
from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.bundle.images.png_texts import SIGNATURE

Content = bytes | mmap

_MOST_PIECES = 4_000  # of a file of any kind, and one for each 4 KiB
_MOST_STRIPS = 200_000  # or tiles of a TIFF, of which some have one for each row
_MOST_ENTRIES = 10_000  # of a directory of a TIFF
_MOST_SKIPPED = 65_536  # bytes between the segments of a JPEG
_MOST_EXIF = 64  # segments, which Pillow joins one by one
_MOST_PARSED = 2**20  # bytes of those segments of a JPEG whose content Pillow takes apart in Python
_MOST_RUN_BYTES = 4  # for each pixel of a compressed BMP
_RUNS = 64  # bytes of a compressed BMP that take as long as another piece
_SOS, _EXIF, _PHOTOSHOP, _TABLES = 0xFFDA, 0xFFE1, 0xFFED, 0xFFDB
_FRAMES = frozenset((*range(0xFFC0, 0xFFC4), *range(0xFFC5, 0xFFC8), *range(0xFFC9, 0xFFCC), *range(0xFFCD, 0xFFD0)))
_NO_FILL = re.compile(rb"[^\xff]")
_STRIPS, _TILES = 273, 324  # tags that list where they are


def count_pieces(data: Content, name: str, to_pixels: bool = False) -> int:
    """How many pieces Pillow would handle one by one; 0 of kinds that have none.

    Args:
        data: the whole file.
        name: what an error calls it.
        to_pixels: count only as far as Pillow reads to know the size.

    Raises:
        ImageTooLarge: there are absurdly many.
    """
    head = data[:16]
    if head.startswith(b"\xff\xd8\xff"):
        return _segments(data, name)
    if head.startswith(SIGNATURE):
        return _counted(_png_chunks(data, b"IDAT" if to_pixels else b"IEND"), data, name, "chunks")
    if head.startswith((b"GIF87a", b"GIF89a")):
        return _counted(_blocks(data), data, name, "blocks before its picture")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _counted(_riff_chunks(data), data, name, "chunks")
    if head.startswith(tiff.SIGNATURES):
        return _strips(data, name)
    if head.startswith(b"BM"):
        return _runs(data, name)
    return 0


def _counted(places: Iterator[int], data: Content, name: str, what: str) -> int:
    limit, count = _MOST_PIECES + len(data) // 4096, 0
    for count, _ in enumerate(places, 1):
        if count > limit:
            raise _absurd(name, f"more than {limit:,} {what}")
    return count


def _png_chunks(data: Content, last: bytes) -> Iterator[int]:
    """Where each chunk of a PNG starts, up to the first that is called so."""
    place = len(SIGNATURE)
    while place + 12 <= len(data):
        yield place
        if data[place + 4 : place + 8] == last:
            return
        place += 12 + int.from_bytes(data[place : place + 4], "big")


def _riff_chunks(data: Content) -> Iterator[int]:
    """Where each chunk of a WebP starts."""
    place, end = 12, 8 + int.from_bytes(data[4:8], "little")
    while place + 8 <= min(end, len(data)):
        yield place
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + size + size % 2


def _blocks(data: Content) -> Iterator[int]:
    """Where each block before the first picture of a GIF starts."""
    flags = data[10] if len(data) > 10 else 0
    place = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    while place < len(data) and data[place] not in b",;":
        yield place
        if data[place] != ord("!"):
            place += 1
            continue
        place += 2
        while place < len(data) and data[place]:
            yield place
            place += 1 + data[place]
        place += 1


def _segments(data: Content, name: str) -> int:
    """The number of segments of a JPEG, walked as Pillow does, up to its first scan."""
    place, count, skipped, parsed, exif = 2, 0, 0, 0, 0
    limit = _MOST_PIECES + len(data) // 4096
    while True:
        start = data.find(b"\xff", place)
        found = _NO_FILL.search(data, start, start + _MOST_SKIPPED + 2) if start >= 0 else None
        skipped += (found.start() - 1 if found else len(data)) - place
        if skipped > _MOST_SKIPPED:
            raise _absurd(name, f"more than {_MOST_SKIPPED:,} bytes between its segments")
        if found is None:
            return count
        marker, place, count = 0xFF00 | data[found.start()], found.end(), count + 1
        if marker == _SOS:
            return count
        if count > limit:
            raise _absurd(name, f"more than {limit:,} segments")
        if MARKER.get(marker, ("", "", None))[2] is None:
            continue
        size = int.from_bytes(data[place : place + 2], "big")
        is_exif = marker == _EXIF and data[place + 2 : place + 8] == b"Exif\0\0"
        if is_exif or marker in (_PHOTOSHOP, _TABLES) or marker in _FRAMES:
            exif, parsed = exif + is_exif, parsed + size
            if exif > _MOST_EXIF or parsed > _MOST_PARSED:
                raise _absurd(name, "far more EXIF, Photoshop blocks, tables or frames than one picture has")
        place += max(2, size)


def _strips(data: Content, name: str) -> int:
    """The number of strips or tiles of the first picture of a TIFF; its entries and those of the second are checked."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    layout = ("Q", "HHQ8x", "Q", 8) if big else ("H", "HHI4x", "I", 4)
    number, entry, pointer = (struct.Struct(order + it) for it in layout[:3])
    place, most = layout[3], 0
    try:
        for page in range(2):
            (place,) = pointer.unpack_from(data, place)
            if not place:
                break
            (entries,) = number.unpack_from(data, place)
            if entries > _MOST_ENTRIES:
                raise _absurd(name, f"{entries:,} entries in its directory")
            place += number.size
            for at in range(place, place + entries * entry.size, entry.size):
                tag, _, count = entry.unpack_from(data, at)
                most = max(most, count) if tag in (_STRIPS, _TILES) and not page else most
                if tag in (_STRIPS, _TILES) and count > _MOST_STRIPS:
                    raise _absurd(name, f"{count:,} strips or tiles")
            place += entries * entry.size
    except struct.error:  # it is cut off or damaged, as Pillow will say
        pass
    return int(most)


def _runs(data: Content, name: str) -> int:
    """How much there is of the runs of a compressed BMP, refused where most of them can draw nothing."""
    if len(data) < 54 or int.from_bytes(data[30:34], "little") not in (1, 2):
        return 0
    width, height = struct.unpack_from("<ii", data, 18)
    if len(data) > _MOST_PARSED + _MOST_RUN_BYTES * abs(width * height):
        raise _absurd(name, f"{len(data):,} bytes for {abs(width * height):,} pixels")
    return len(data) // _RUNS


def _absurd(name: str, why: str) -> ImageTooLarge:
    return ImageTooLarge(f"{name} is not a usual image", f"it has {why}", "Save it anew with an image program.")
