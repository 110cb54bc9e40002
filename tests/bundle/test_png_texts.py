"""Texts and profiles of a PNG that are left out, to the byte."""

from __future__ import annotations

import zlib

import pytest

from convsmith.bundle.images.png_texts import SIGNATURE, without_large_texts
from tests.hostile_images import png_chunk

MOST = 2**20
END = png_chunk(b"IEND")


def text(size: int, fill: bytes = b"a") -> bytes:
    return png_chunk(b"tEXt", b"k\0" + fill * (size - 2))


def packed(kind: bytes, head: bytes, size: int) -> bytes:
    return png_chunk(kind, head + zlib.compress(bytes(size)))


@pytest.mark.parametrize(
    ("kept", "left_out"),
    [
        (text(MOST), text(1)),
        (text(1000) + text(MOST - 1000), text(3)),
        (packed(b"zTXt", b"key\0\0", MOST), text(2)),
        (packed(b"iCCP", b"name\0\0", MOST), text(2)),
        (packed(b"iTXt", b"key\0\1\0en\0schluessel\0", MOST), text(2)),
        (b"", text(MOST + 1)),
        (b"", packed(b"zTXt", b"key\0\0", MOST + 1)),
        (b"", packed(b"iCCP", b"name\0\0", MOST + 1)),
        (b"", packed(b"iTXt", b"key\0\1\0en\0schluessel\0", MOST + 1)),
    ],
)
def test_texts_beyond_the_first_mib_are_left_out(kept: bytes, left_out: bytes) -> None:
    other = png_chunk(b"IDAT", bytes(2000))
    whole = SIGNATURE + kept + other + left_out + other + END
    assert without_large_texts(whole) == SIGNATURE + kept + other + other + END
    assert without_large_texts(SIGNATURE + kept + other + END) == SIGNATURE + kept + other + END


def test_a_small_text_stays_behind_a_large_one() -> None:
    whole = SIGNATURE + text(MOST + 1) + text(50) + text(MOST, b"b") + text(60) + END
    assert without_large_texts(whole) == SIGNATURE + text(50) + text(60) + END


@pytest.mark.parametrize(("large", "stays"), [(15, True), (16, False)])
def test_behind_sixteen_large_ones_none_stays(large: int, stays: bool) -> None:
    many = packed(b"zTXt", b"key\0\0", MOST + 1) * large
    assert without_large_texts(SIGNATURE + many + text(50) + END) == SIGNATURE + (text(50) if stays else b"") + END


def test_a_chunk_that_is_cut_off_and_other_files_stay() -> None:
    cut = SIGNATURE + text(50) + text(MOST + 1)[:11]
    assert without_large_texts(cut) == cut
    assert without_large_texts(b"GIF" + text(MOST + 1)) == b"GIF" + text(MOST + 1)
