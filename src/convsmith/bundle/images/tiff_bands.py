"""The numbers in a TIFF of any bands: 8 to 64 bits, strips or tiles, pixel by pixel or band after band.

Pillow reads few of these kinds. But it, and libtiff inside it, unpacks any of them once they are described as one grey
picture of bytes, as wide as a row of the file is long.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, TiffImagePlugin

from convsmith.bundle.images import tiff
from convsmith.bundle.images.image_error import ImageError

_Base = ExifTags.Base
_COMPRESSIONS = frozenset((1, 5, 8, 32773, 32946, 50000))  # none, LZW, Deflate, PackBits, Deflate of old, Zstandard
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2  # of PhotometricInterpretation
_KINDS = {1: "u", 2: "i", 3: "f"}  # of SampleFormat
_NUMBERS = {"u": (1, 2, 4), "i": (1, 2, 4), "f": (4, 8)}  # bytes of each
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3  # of Predictor
_BAND_AFTER_BAND = 2  # of PlanarConfiguration
_MOST_TAGS = 200  # of a page
_LONG = 4  # a number of 32 bits, as the type of an entry
_LYING = (5, 6, 7, 8)  # orientations that swap height and width
_START = 8  # bytes of a TIFF before all else


Tags = Mapping[int, Any]


class Layout(NamedTuple):
    """The facts that the tags of a file tell.

    Attributes:
        height: in pixels.
        width: in pixels.
        bands: numbers of a pixel.
        dtype: of a number, in the file's order of bytes.
        tile: height and width of a tile, or of a strip, which is as wide as the picture.
        is_tiled: whether they are tiles.
        separate: whether there is band after band.
        colours: PhotometricInterpretation.
        orientation: 1 to 8, as in EXIF.
    """

    height: int
    width: int
    bands: int
    dtype: np.dtype[Any]
    tile: tuple[int, int]
    is_tiled: bool
    separate: bool
    colours: int
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright picture."""
        return (self.width, self.height) if self.orientation in _LYING else (self.height, self.width)


def pages_of(file: IO[bytes], most: int) -> list[Tags]:
    """The tags of each page of a TIFF that stands at its start, up to so many pages.

    Raises:
        ImageError: there are absurdly many tags.
    """
    head = file.read(16)
    pages: list[Tags] = []
    is_big = 43 in head[2:4]
    order = "<" if head[:2] == b"II" else ">"
    tags = TiffImagePlugin.ImageFileDirectory_v2(head if is_big else head[:8])
    while tags.next and len(pages) < most:
        file.seek(tags.next)
        (count,) = struct.unpack(order + ("Q" if is_big else "H"), file.read(8 if is_big else 2))
        if count > _MOST_TAGS:
            raise ImageError("a TIFF is damaged", f"it has {count:,} tags in a page")
        file.seek(tags.next)
        following = TiffImagePlugin.ImageFileDirectory_v2(head if is_big else head[:8])
        following.load(file)
        pages.append(following)
        tags = following
    return pages


def layout_of(tags: Tags, order: bytes) -> Layout | None:
    """The layout of a picture; None where it is of another kind than `read_bands` knows.

    Args:
        tags: of the picture.
        order: the first two bytes of the file.
    """
    bands = tags.get(_Base.SamplesPerPixel, 1)
    bits, kinds = ({*tags.get(tag, (1,))} for tag in (_Base.BitsPerSample, _Base.SampleFormat))
    colours = tags.get(_Base.PhotometricInterpretation, _BLACK_IS_ZERO)
    kind, size = _KINDS.get(min(kinds), ""), min(bits) // 8
    is_known = (
        len(bits) == len(kinds) == 1
        and size in _NUMBERS.get(kind, ())
        and min(bits) % 8 == 0
        and tags.get(_Base.Compression, 1) in _COMPRESSIONS
        and tags.get(_Base.FillOrder, 1) == 1
        and tags.get(_Base.Predictor, 1) in (1, _FLOAT_DIFFERENCES if kind == "f" else _DIFFERENCES)
        and colours in ((_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) if (kind, size) == ("u", 1) else (_BLACK_IS_ZERO, _RGB))
        and not tags.get(_Base.NewSubfileType, 0) & tiff.PREVIEW
        and all(tags.get(tag, 0) > 0 for tag in (_Base.ImageWidth, _Base.ImageLength))
    )
    if not is_known:
        return None
    height, width = tags[_Base.ImageLength], tags[_Base.ImageWidth]
    is_tiled = _Base.TileWidth in tags
    rows = min(height, tags.get(_Base.RowsPerStrip, height))
    tile = (tags[_Base.TileLength], tags[_Base.TileWidth]) if is_tiled else (rows, width)
    separate = bands > 1 and tags.get(_Base.PlanarConfiguration, 1) == _BAND_AFTER_BAND
    dtype = np.dtype(f"{'<' if order == b'II' else '>'}{kind}{size}")
    orientation = tags.get(_Base.Orientation, 1)
    return Layout(height, width, bands, dtype, tile, is_tiled, separate, colours, orientation)


def read_bands(data: bytes, pages: Sequence[Tags], layout: Layout, name: str) -> NDArray[Any]:
    """The numbers [H, W, C] of pages of one layout, upright; 8 bits whose white is zero are inverted.

    Args:
        data: the whole file.
        pages: their tags.
        layout: of each, whose size has been found small enough.
        name: what an error calls it.

    Raises:
        ImageError: it is damaged. Whatever else Pillow raises has to be caught, too.
    """
    planes = [plane for tags in pages for plane in _planes(data, tags, layout, name)]
    values = np.concatenate(planes, axis=2) if len(planes) > 1 else planes[0]
    if layout.colours == _WHITE_IS_ZERO:
        values = 255 - values
    return _upright(values, layout.orientation)


def _planes(data: bytes, tags: Tags, layout: Layout, name: str) -> Iterator[NDArray[Any]]:
    """The numbers [H, W, C] of a page, or [H, W, 1] of one band after the other."""
    count = layout.bands if layout.separate else 1
    places = tags[_Base.TileOffsets if layout.is_tiled else _Base.StripOffsets]
    sizes = tags[_Base.TileByteCounts if layout.is_tiled else _Base.StripByteCounts]
    each = -(-layout.height // layout.tile[0]) * -(-layout.width // layout.tile[1])
    if not len(places) == len(sizes) == each * count:
        raise ImageError(f"cannot read {name}", f"it has {len(places)} strips or tiles instead of {each * count}")
    parts = [data[place : place + size] for place, size in zip(places, sizes, strict=True)]
    return (_plane(parts[first : first + each], tags, layout) for first in range(0, len(parts), each))


def _plane(parts: list[bytes], tags: Tags, layout: Layout) -> NDArray[Any]:
    """The numbers [H, W, C] of some strips or tiles."""
    bands, size = 1 if layout.separate else layout.bands, layout.dtype.itemsize
    across = -(-layout.width // layout.tile[1])
    row = layout.tile[1] * bands * size
    picture = TiffImagePlugin.TiffImageFile(io.BytesIO(_as_grey(parts, tags, layout, row, across)))
    raw = np.asarray(picture).reshape(layout.height, across, row)
    values = _numbers(raw, bands, layout.dtype, tags.get(_Base.Predictor, 1))
    return values.reshape(layout.height, -1, bands)[:, : layout.width]


def _numbers(raw: NDArray[np.uint8], bands: int, dtype: np.dtype[Any], predictor: int) -> NDArray[Any]:
    """Numbers [H, N, W * C] of bytes [H, N, R] of N tiles beside each other."""
    height, across = raw.shape[:2]
    if predictor == _FLOAT_DIFFERENCES:  # bytes of the same weight together, the highest first
        summed = np.cumsum(raw.reshape(height, across, -1, bands), axis=2, dtype=np.uint8)
        weights = summed.reshape(height, across, dtype.itemsize, -1).swapaxes(2, 3)
        return np.ascontiguousarray(weights).view(dtype.newbyteorder(">")).reshape(height, across, -1).astype(dtype)
    values = np.ascontiguousarray(raw).view(dtype)
    if predictor == _DIFFERENCES:
        whole = values.view(f"{dtype.byteorder}u{dtype.itemsize}".replace("|", "")).astype(f"u{dtype.itemsize}")
        pixels = whole.reshape(height, across, -1, bands)
        np.cumsum(pixels, axis=2, dtype=pixels.dtype, out=pixels)
        return pixels.view(dtype.newbyteorder("=")).reshape(height, across, -1)
    return values


def _as_grey(parts: list[bytes], tags: Tags, layout: Layout, row: int, across: int) -> bytes:
    """A TIFF of one grey picture of bytes, with the same strips or tiles."""
    lengths = np.array([len(part) for part in parts], "<u4")
    places = _START + np.cumsum(lengths, dtype="<u4") - lengths
    entries: dict[int, Any] = {
        _Base.ImageWidth: row * across,
        _Base.ImageLength: layout.height,
        _Base.BitsPerSample: 8,
        _Base.Compression: tags.get(_Base.Compression, 1),
        _Base.PhotometricInterpretation: _BLACK_IS_ZERO,
        _Base.SamplesPerPixel: 1,
        _Base.TileOffsets if layout.is_tiled else _Base.StripOffsets: places,
        _Base.TileByteCounts if layout.is_tiled else _Base.StripByteCounts: lengths,
    }
    if layout.is_tiled:
        entries |= {_Base.TileWidth: row, _Base.TileLength: layout.tile[0]}
    else:
        entries[_Base.RowsPerStrip] = layout.tile[0]
    directory = _START + int(lengths.sum())
    behind = directory + 2 + 12 * len(entries) + 4
    listed, longer = [], []
    for tag, value in sorted(entries.items()):
        content = np.atleast_1d(np.asarray(value, "<u4")).tobytes()
        listed.append(struct.pack("<HHI", tag, _LONG, len(content) // 4))
        if len(content) == 4:
            listed.append(content)
            continue
        listed.append(struct.pack("<I", behind))
        longer.append(content)
        behind += len(content)
    head = b"II*\0" + struct.pack("<I", directory)
    return b"".join((head, *parts, struct.pack("<H", len(entries)), *listed, bytes(4), *longer))


def _upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn and mirror numbers [H, W, C] by an orientation as in EXIF."""
    if orientation in _LYING:
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values
