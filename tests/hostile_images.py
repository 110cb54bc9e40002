"""Small files that would hold a decoder for long, or fill its memory."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial

from PIL import Image


def png_chunk(kind: bytes, body: bytes = b"") -> bytes:
    """One chunk of a PNG, with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(size: tuple[int, int], *, bits: int = 8, colours: int = 0, before: bytes = b"", after: bytes = b"") -> bytes:
    """A black PNG, row by row of zeros, with further chunks before and after its pixels."""
    width, height = size
    row = 1 + (width * bits * {0: 1, 2: 3, 6: 4}[colours] + 7) // 8
    packer = zlib.compressobj(9)
    pixels = b"".join([packer.compress(bytes(row * min(4096, height - top))) for top in range(0, height, 4096)])
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    body = png_chunk(b"IDAT", pixels + packer.flush())
    return b"\x89PNG\r\n\x1a\n" + header + before + body + after + png_chunk(b"IEND")


def webp(width: int, height: int) -> bytes:
    """A lossless WebP of one colour in 46 bytes, of at most 16,383 pixels a side."""
    content = io.BytesIO()
    Image.new("RGB", (1, 1)).save(content, "WEBP", lossless=True)
    data = content.getvalue()
    place = data.index(b"VP8L") + 9
    sides = struct.unpack_from("<I", data, place)[0] >> 28 << 28 | height - 1 << 14 | width - 1
    return data[:place] + struct.pack("<I", sides) + data[place + 4 :]


def bmp_of_runs(width: int, height: int, row: bytes) -> bytes:
    """A BMP of 8 bits whose every row is the same compressed `row`."""
    body = row * height + b"\0\1"
    palette = b"".join(struct.pack("<BBBB", i, 0, 0, 0) for i in range(256))
    place = 54 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", place + len(body), 0, 0, place) + info + palette + body


def tiff(width: int, height: int, tags: dict[int, tuple[int, list[int]]], body: bytes) -> bytes:
    """A grey, uncompressed TIFF with lists of numbers of 16 (3) or 32 bits (4) as further tags.

    `body` lies at byte 8, all lists behind it.
    """
    usual = {256: (4, [width]), 257: (4, [height]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]), 277: (3, [1])}
    entries, lists = b"", b""
    place = 8 + len(body)
    for tag, (kind, numbers) in sorted((usual | tags).items()):
        packed = struct.pack(f"<{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(packed) <= 4:
            value = packed.ljust(4, b"\0")
        else:
            value = struct.pack("<I", place + len(lists))
            lists += packed
        entries += struct.pack("<HHI", tag, kind, len(numbers)) + value
    directory = struct.pack("<H", len(entries) // 12) + entries + bytes(4)
    return struct.pack("<2sHI", b"II", 42, place + len(lists)) + body + lists + directory


def tiff_of_strips(count: int) -> bytes:
    """A column of pixels, each a strip of its own."""
    return tiff(1, count, {273: (4, [8] * count), 278: (4, [1]), 279: (3, [1] * count)}, b"\x80")


def tiff_of_tiles(count: int, side: int = 1) -> bytes:
    """A column of pixels, a tile for each `side` of them and as wide."""
    tiles = {322: (4, [side]), 323: (4, [side]), 324: (4, [8] * count), 325: (3, [1] * count)}
    return tiff(1, (count - 1) * side + 1, tiles, b"\x80")


def jpeg(before: bytes = b"", size: tuple[int, int] = (64, 64)) -> bytes:
    """A small JPEG with further bytes behind its start."""
    content = io.BytesIO()
    Image.new("RGB", size, "teal").save(content, "JPEG")
    data = content.getvalue()
    return data[:2] + before + data[2:]


def jpeg_segment(marker: int, body: bytes = b"") -> bytes:
    """One segment of a JPEG, with its length."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg_of_fill_in_the_scan(count: int) -> bytes:
    """A JPEG whose pixels are fill bytes, which its decoder asks for more and more of."""
    data = jpeg(size=(512, 512))
    start = data.index(b"\xff\xda") + 14
    return data[:start] + b"\xff" * count + data[start:]


def gif_of_blocks(count: int) -> bytes:
    """A GIF with a comment of blocks of one byte."""
    content = io.BytesIO()
    Image.new("P", (8, 8)).save(content, "GIF")
    data = content.getvalue()
    place = data.index(b"\x2c" + bytes(4) + struct.pack("<HH", 8, 8))
    return data[:place] + b"!\xfe" + b"\1a" * count + b"\0" + data[place:]


def avif(width: int, height: int) -> bytes:
    """An AVIF of one colour."""
    content = io.BytesIO()
    Image.new("RGB", (width, height)).save(content, "AVIF", speed=10)
    return content.getvalue()


def progressive_jpeg(width: int, height: int, scans: int) -> bytes:
    """A JPEG of one colour that is drawn so many times over."""
    content = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(content, "JPEG", progressive=True)
    data = content.getvalue()
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * scans + b"\xff\xd9"


MILLION = 1_000_000

HOSTILE: dict[str, Callable[[], bytes]] = {
    "webp-64-megapixels": partial(webp, 8192, 8192),
    "webp-16383-square": partial(webp, 16383, 16383),
    "png-column": partial(png, (1, 60 * MILLION)),
    "png-row": partial(png, (60 * MILLION, 1)),
    "png-16-bit": partial(png, (8192, 8192), bits=16),
    "png-16-bit-rgba": partial(png, (8192, 8192), bits=16, colours=6),
    "png-empty-texts": lambda: png((8, 8), before=png_chunk(b"tEXt", b"a\0") * 1_300_000),
    "png-empty-texts-behind": lambda: png((8, 8), after=png_chunk(b"tEXt", b"a\0") * 1_300_000),
    "png-empty-pixels": lambda: png((8, 8), before=png_chunk(b"IDAT") * 1_600_000),
    "png-private-chunks": lambda: png((8, 8), before=png_chunk(b"abCd") * 1_600_000),
    "bmp-runs-64-megapixels": partial(bmp_of_runs, 8000, 8000, b"\1\0\0\0"),
    "bmp-runs-past-the-row": partial(bmp_of_runs, 8, 8, b"\1\1" * 1_200_000),
    "tiff-one-pixel-strips": partial(tiff_of_strips, 3 * MILLION),
    "tiff-one-pixel-tiles": partial(tiff_of_tiles, 3 * MILLION),
    "jpeg-exif-segments": lambda: jpeg(jpeg_segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 290),
    "jpeg-small-exif-segments": lambda: jpeg(jpeg_segment(0xE1, b"Exif\0\0II*\0" + bytes(40)) * 300_000),
    "jpeg-fill": lambda: jpeg(b"\xff" * 19 * MILLION),
    "jpeg-junk": lambda: jpeg(jpeg_segment(0xFE) + b"\0" * 19 * MILLION),
    "jpeg-fill-in-the-scan": partial(jpeg_of_fill_in_the_scan, 19 * MILLION),
    "jpeg-comments": lambda: jpeg(jpeg_segment(0xFE) * 4_700_000),
    "jpeg-tables": lambda: jpeg(jpeg_segment(0xDB, bytes(65 * 1000)) * 290),
    "jpeg-frames": lambda: jpeg(jpeg_segment(0xC0, bytes([8, 0, 8, 0, 8, 3]) + bytes(64_998)) * 290),
    "jpeg-photoshop": lambda: jpeg(jpeg_segment(0xED, b"Photoshop 3.0\0" + (b"8BIM" + bytes(8)) * 5_400) * 290),
    "jpeg-64-megapixels": lambda: jpeg(size=(8192, 8192)),
    "jpeg-scans": partial(progressive_jpeg, 8000, 8000, 80),
    "gif-blocks": partial(gif_of_blocks, 9 * MILLION),
    "avif-64-megapixels": partial(avif, 8192, 8192),
}
"""Makers of the files by name, each of at most 20 MB."""
