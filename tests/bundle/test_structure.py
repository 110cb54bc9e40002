"""Files of absurdly many pieces are refused before Pillow walks them; those that programs write are read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from convsmith.bundle.images.decode import decode_image
from convsmith.bundle.images.image_error import ImageError, ImageTooLarge
from convsmith.bundle.images.open_image import check_header, open_image
from tests.hostile_images import (
    HOSTILE,
    jpeg,
    jpeg_of_fill_in_the_scan,
    jpeg_segment,
    png,
    png_chunk,
    progressive_jpeg,
    tiff_of_strips,
    webp,
)

IN_THE_HEADER = [
    "png-empty-texts", "png-private-chunks", "bmp-runs-past-the-row", "tiff-one-pixel-strips",
    "tiff-one-pixel-tiles", "jpeg-exif-segments", "jpeg-small-exif-segments", "jpeg-fill", "jpeg-junk",
    "jpeg-comments", "jpeg-tables", "jpeg-frames", "jpeg-photoshop", "gif-blocks",
]  # fmt: skip
BEHIND_IT = ["png-empty-texts-behind", "png-empty-pixels"]


@pytest.mark.parametrize("name", [*IN_THE_HEADER, *BEHIND_IT])
def test_a_file_of_millions_of_pieces_is_not_decoded(name: str) -> None:
    with pytest.raises(ImageTooLarge, match=r"it is not a usual image: it has .*[0-9f]"):
        decode_image(HOSTILE[name](), "it")


@pytest.mark.parametrize("name", IN_THE_HEADER)
def test_nor_does_reading_its_header_take_longer(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(HOSTILE[name]())
    with pytest.raises(ImageTooLarge, match="is not a usual image"):
        check_header(tmp_path / name)


def test_a_jpeg_may_hold_64_kib_that_belong_to_no_segment(tmp_path: Path) -> None:
    assert decode_image(jpeg(jpeg_segment(0xFE) + bytes(65_536))).shape == (64, 64, 3)
    with pytest.raises(ImageTooLarge, match="more than 65,536 bytes between its segments"):
        decode_image(jpeg(jpeg_segment(0xFE) + bytes(65_537)))


def test_a_jpeg_may_have_some_thousands_of_segments() -> None:
    assert decode_image(jpeg(3_900 * jpeg_segment(0xFE))).shape == (64, 64, 3)
    with pytest.raises(ImageTooLarge, match=r"more than 4,00\d segments"):
        decode_image(jpeg(4_100 * jpeg_segment(0xFE)))


def test_many_chunks_of_a_webp_are_refused() -> None:
    data = webp(4, 4)
    chunks = b"abcd\0\0\0\0" * 10_000
    whole = b"RIFF" + (len(data) - 8 + len(chunks)).to_bytes(4, "little") + data[8:] + chunks
    with pytest.raises(ImageTooLarge, match="chunks"):
        decode_image(whole)


def picture(kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    Image.effect_noise((40, 30), 60).convert("RGB").save(content, kind, **options)
    return content.getvalue()


def png_of_single_bytes() -> bytes:
    """The PNG whose pixels lie in chunks of one byte, as in a test image of libpng's."""
    data = png((64, 64))
    start = data.index(b"IDAT") - 4
    size = int.from_bytes(data[start : start + 4], "big")
    body = data[start + 8 : start + 8 + size]
    return data[:start] + b"".join(png_chunk(b"IDAT", bytes([it])) for it in body) + data[start + 12 + size :]


USUAL = {
    "a large profile of colours": jpeg(jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000)) * 255),
    "a depth map in many segments": jpeg(jpeg_segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(9)) * 900),
    "EXIF in several segments": jpeg(jpeg_segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 4),
    "markers that are padded": jpeg(b"\xff" * 1000),
    "ten scans": progressive_jpeg(64, 64, 10),
    "pixels in single bytes": png_of_single_bytes(),
    "zeros behind its end": png((8, 8)) + bytes(10**6),
    "a strip for each row": tiff_of_strips(20_000),
    "a comment": picture("GIF", comment=b"a" * 50_000),
    "a compressed palette": picture("TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("what", USUAL)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_file_with_what_programs_write_is_read(what: str) -> None:
    assert decode_image(USUAL[what]).shape[2] == 3


def test_a_jpeg_goes_to_its_decoder_as_a_whole() -> None:
    data = jpeg_of_fill_in_the_scan(300_000)  # of which nothing can be decoded till its end has come
    with open_image(data) as image:
        assert image.decodermaxblock >= len(data)  # type: ignore[attr-defined]
        image.load()


@pytest.mark.parametrize("cut", [2, 3, 12, 20, 31, 60])
@pytest.mark.parametrize("name", ["jpeg-comments", "tiff-one-pixel-tiles", "gif-blocks", "bmp-runs-past-the-row"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_what_is_cut_off_is_counted_without_a_fault(name: str, cut: int) -> None:
    with pytest.raises(ImageError):
        decode_image(HOSTILE[name]()[:cut])
