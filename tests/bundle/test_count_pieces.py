"""How many pieces a file has, counted by hand, and the first number of them that is refused."""

from __future__ import annotations

import struct

import pytest

from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.bundle.images.structure import count_pieces
from tests.hostile_images import jpeg_segment, png_chunk

PNG = b"\x89PNG\r\n\x1a\n"


def refusal(data: bytes) -> str:
    with pytest.raises(ImageTooLarge, match="it is not a usual image") as caught:
        count_pieces(data, "it")
    return str(caught.value.why)


def test_chunks_of_a_png_are_counted_to_its_pixels_or_its_end() -> None:
    data = PNG + png_chunk(b"IHDR", bytes(13)) + png_chunk(b"tEXt", b"a\0b") + png_chunk(b"IDAT", bytes(300))
    data += png_chunk(b"tEXt", b"") + png_chunk(b"IEND", b"") + png_chunk(b"tEXt", b"")
    assert count_pieces(data, "it") == 5
    assert count_pieces(data, "it", to_pixels=True) == 3
    assert count_pieces(data[:-12], "it") == 5
    assert count_pieces(data[:-13], "it") == count_pieces(data[:-24], "it") == 4
    assert count_pieces(data[:-25], "it") == 3


def test_a_file_may_have_4000_pieces_and_one_for_each_4_kib() -> None:
    assert count_pieces(PNG + png_chunk(b"tEXt", b"") * 4011, "it") == 4011  # in 48,140 bytes, 11 of 4 KiB
    assert refusal(PNG + png_chunk(b"tEXt", b"") * 4012) == "it has more than 4,011 chunks"
    segments = jpeg_segment(0xFE) * 4003  # of 4 bytes each
    assert count_pieces(b"\xff\xd8" + segments, "it") == 4003
    assert refusal(b"\xff\xd8" + segments + jpeg_segment(0xFE)) == "it has more than 4,003 segments"


def riff(*chunks: tuple[bytes, bytes], said: int | None = None) -> bytes:
    body = b"".join(name + len(it).to_bytes(4, "little") + it + b"\0" * (len(it) % 2) for name, it in chunks)
    return b"RIFF" + (len(body) + 4 if said is None else said).to_bytes(4, "little") + b"WEBP" + body


def test_chunks_of_a_webp_begin_at_even_places_and_end_with_it() -> None:
    chunks = ((b"VP8X", bytes(10)), (b"ICCP", bytes(7)), (b"VP8 ", bytes(1)), (b"EXIF", b""))
    assert count_pieces(riff(*chunks), "it") == 4
    assert count_pieces(riff(*chunks) + bytes(80), "it") == 4
    assert count_pieces(riff(*chunks, said=4 + 18 + 16), "it") == 2
    assert count_pieces(riff(*chunks, said=4 + 18 + 15), "it") == 2
    assert count_pieces(riff(*chunks, said=4 + 18 + 7), "it") == 1
    assert count_pieces(riff(*chunks)[: 12 + 18 + 16 + 10 + 7], "it") == 3


@pytest.mark.parametrize(("flags", "palette"), [(0, 0), (7, 0), (0x80, 6), (0x82, 24), (0x87, 768)])
def test_blocks_of_a_gif_begin_behind_its_palette(flags: int, palette: int) -> None:
    head = b"GIF89a" + bytes(4) + bytes([flags]) + bytes(2) + b"," * palette
    comment, application = b"!\xfe\3abc\2de\0", b"!\xff\1a\0"
    assert count_pieces(head + comment + application + b"," + comment, "it") == (1 + 2) + (1 + 1)
    assert count_pieces(head + comment + b"\0\0;" + comment, "it") == (1 + 2) + 2
    assert count_pieces(head + comment[:4], "it") == 2
    assert count_pieces(head, "it") == 0
    assert count_pieces(head[:10], "it") == 0


def test_segments_of_a_jpeg_are_counted_to_its_first_scan() -> None:
    data = b"\xff\xd8" + jpeg_segment(0xE0, b"JFIF\0") + jpeg_segment(0xDB, bytes(65)) + b"\xff\xff" + b"\xfe\0\2"
    assert count_pieces(data + b"\xff\xda" + jpeg_segment(0xFE) * 5, "it") == 4
    assert count_pieces(data, "it") == 3
    assert count_pieces(b"\xff\xd8\xff", "it") == 0


@pytest.mark.parametrize(
    ("fits", "one_more"),
    [
        (jpeg_segment(0xE1, b"Exif\0\0") * 64, jpeg_segment(0xE1, b"Exif\0\0")),
        (jpeg_segment(0xDB, bytes(65_533)) * 16 + jpeg_segment(0xED, bytes(14)), jpeg_segment(0xC4)[:2] + b"\0\2"),
    ],
)
def test_a_jpeg_may_have_64_exif_segments_and_a_mib_to_take_apart(fits: bytes, one_more: bytes) -> None:
    start = b"\xff\xd8"
    count_pieces(start + fits + jpeg_segment(0xE1, b"http") * 9, "it")
    more = jpeg_segment(0xC0) if one_more.startswith(b"\xff\xc4") else one_more
    assert refusal(start + fits + more).startswith("it has far more EXIF, Photoshop blocks, tables or frames")


def tiff(order: str, big: bool, *pages: list[tuple[int, int]]) -> bytes:
    """A TIFF of pages of (tag, count)."""
    number, entry, pointer = ("Q", "HHQ8x", "Q") if big else ("H", "HHI4x", "I")
    mark = 43 if big else 42
    data = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", mark)
    data += struct.pack(order + "HH", 8, 0) if big else b""
    width = struct.calcsize(order + pointer)
    for page in pages:
        data += struct.pack(order + pointer, len(data) + width) + struct.pack(order + number, len(page))
        data += b"".join(struct.pack(order + entry, tag, 4, count) for tag, count in page)
    return data + bytes(width)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_strips_or_tiles_of_the_first_picture_of_a_tiff_are_counted(order: str, big: bool) -> None:
    assert count_pieces(tiff(order, big, [(256, 900), (273, 30), (279, 800)], [(273, 40)]), "it") == 30
    assert count_pieces(tiff(order, big, [(324, 50), (256, 1)]), "it") == 50
    assert count_pieces(tiff(order, big, [(256, 300_000), (273, 200_000)]), "it") == 200_000
    assert refusal(tiff(order, big, [(324, 200_001)])) == "it has 200,001 strips or tiles"
    assert refusal(tiff(order, big, [(273, 1)], [(273, 200_001)])) == "it has 200,001 strips or tiles"
    assert count_pieces(tiff(order, big, [(273, 1)], [], [(273, 200_001)]), "it") == 1
    assert count_pieces(tiff(order, big, [(273, 7)] * 10_000), "it") == 7
    assert refusal(tiff(order, big, [(273, 7)] * 10_001)) == "it has 10,001 entries in its directory"


def bmp(width: int, height: int, compression: int, size: int) -> bytes:
    data = b"BM" + bytes(16) + struct.pack("<ii", width, height) + bytes(4) + compression.to_bytes(4, "little")
    return data + bytes(size - len(data))


def test_runs_of_a_bmp_are_counted_by_its_bytes() -> None:
    most = 2**20 + 4 * 30 * 20
    assert count_pieces(bmp(30, 20, 1, most), "it") == most // 64
    assert count_pieces(bmp(30, -20, 2, 640), "it") == 10
    assert count_pieces(bmp(30, 20, 1, 54), "it") == count_pieces(bmp(30, 20, 1, 53), "it") == 0
    assert count_pieces(bmp(30, 20, 1, 64), "it") == 1
    assert count_pieces(bmp(30, 20, 0, 6400), "it") == count_pieces(bmp(30, 20, 3, 6400), "it") == 0
    assert refusal(bmp(30, -20, 2, most + 1)) == f"it has {most + 1:,} bytes for 600 pixels"


def test_other_files_have_no_pieces() -> None:
    assert count_pieces(b"\0" * 100, "it") == count_pieces(b"", "it") == 0
    assert count_pieces(b"RIFF" + bytes(4) + b"WAVE" + bytes(40), "it") == 0
