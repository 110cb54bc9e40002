"""An ordinary JPEG's header is read without Pillow, with what Pillow finds in it; every doubt is left to Pillow."""

from __future__ import annotations

import io
import struct
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from convsmith.bundle.images import decode
from convsmith.bundle.images.decode import decode_image, decode_rgb
from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.bundle.images.jpeg_header import ordinary_header
from convsmith.bundle.images.open_image import orientation_of
from tests.bundle.decoding import outcome

NOISE = Image.effect_noise((40, 24), 60).convert("RGB")
XMP = b"http://ns.adobe.com/xap/1.0/\0"

# Pillow warns of what it repairs
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def jpeg(image: Image.Image = NOISE, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", **options)
    return content.getvalue()


def exif(orientation: int | None = 6, **tags: Any) -> Image.Exif:
    block = Image.Exif()
    for name, value in {"Orientation": orientation, "Make": "a maker of cameras", **tags}.items():
        if value is not None:
            block[ExifTags.Base[name]] = value
    return block


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def with_segment(marker: int, body: bytes, data: bytes | None = None) -> bytes:
    """A JPEG with one more segment at its start."""
    data = data or jpeg()
    return data[:2] + segment(marker, body) + data[2:]


def exif_of_big_endian() -> bytes:
    entries = b"\x01\x12\0\x03\0\0\0\x01\0\x08\0\0"
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + entries + bytes(4)


def exif_whose_texts_overlap() -> bytes:
    """Three texts of 40 bytes, all at one place, which are more than the block has."""
    entries = b"".join(struct.pack("<HHII", tag, 2, 40, 50) for tag in (0x10F, 0x110, 0x131))
    return b"Exif\0\0II*\0\x08\0\0\0\x03\0" + entries + bytes(4 + 40)


ORDINARY = {
    "plain": jpeg(),
    "grey": jpeg(NOISE.convert("L")),
    "4:2:0": jpeg(subsampling=2, quality=30),
    "restarts": jpeg(restart_marker_rows=1),
    "a profile of colours": jpeg(icc_profile=bytes(70_000)),
    "a comment": jpeg(comment=b"taken by nobody"),
    "notes about colours": jpeg(keep_rgb=True),
    "EXIF": jpeg(exif=exif(XResolution=72.0, ResolutionUnit=2)),
    "EXIF of a big-endian camera": with_segment(0xE1, exif_of_big_endian()),
    "XMP": with_segment(0xE1, XMP + b"<x/>"),
    "bytes behind its end": jpeg() + b"\xff\xda" * 10,
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_what_is_found_is_what_pillow_finds(kind: str) -> None:
    data = ORDINARY[kind]
    with Image.open(io.BytesIO(data)) as image:
        assert ordinary_header(data) == (*image.size, orientation_of(image))


@pytest.mark.parametrize("orientation", [None, *range(10)])
def test_an_image_is_turned_upright_without_pillow_opening_the_file(orientation: int | None) -> None:
    data = jpeg(exif=exif(orientation))
    with patch.object(decode, "ordinary_header", return_value=None):
        expected = decode_image(data)
    with patch.object(decode, "open_image", side_effect=AssertionError):
        assert np.array_equal(decode_image(data), expected)


def damaged(data: bytes, at: bytes, new: bytes) -> bytes:
    assert at in data
    return data.replace(at, new, 1)


DOUBTFUL = {
    "empty": b"",
    "another kind": b"\x89PNG\r\n\x1a\n" + bytes(99),
    "its first bytes": jpeg()[:2],
    "cut off in its header": jpeg()[:100],
    "without a scan": jpeg()[: jpeg().index(b"\xff\xda")],
    "without a frame": damaged(jpeg(), b"\xff\xc0", b"\xff\xfe"),
    "progressive": jpeg(progressive=True),
    "CMYK": jpeg(NOISE.convert("CMYK")),
    "12 bits": damaged(jpeg(), b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
    "no height": damaged(jpeg(), b"\x08\0\x18\0\x28", b"\x08\0\0\0\x28"),
    "a colour for each scan": damaged(jpeg(), b"\xff\xda\0\x0c\x03", b"\xff\xda\0\x0c\x01"),
    "two frames": damaged(jpeg(), b"\xff\xc0", segment(0xC0, b"\x08\0\x18\0\x28\x01\x01\x11\0") + b"\xff\xc0"),
    "padding": jpeg()[:2] + b"\xff" + jpeg()[2:],
    "junk between segments": jpeg()[:2] + b"\0" + jpeg()[2:],
    "a segment of no length": jpeg()[:2] + b"\xff\xfe\0\1" + jpeg()[2:],
    "a short JFIF": with_segment(0xE0, b"JFIF\0"),
    "a short profile": with_segment(0xE2, b"ICC_PROFILE\0"),
    "a short note about colours": with_segment(0xEE, b"Adobe"),
    "Photoshop's blocks": with_segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04"),
    "several pictures": with_segment(0xE2, b"MPF\0II*\0"),
    "two blocks of EXIF": with_segment(0xE1, exif_of_big_endian(), ORDINARY["EXIF"]),
    "EXIF of nothing": with_segment(0xE1, b"Exif\0\0"),
    "EXIF that is cut off": with_segment(0xE1, exif_of_big_endian()[:20]),
    "EXIF that points beyond its end": with_segment(0xE1, b"Exif\0\0MM\0*\0\0\xff\xff"),
    "EXIF whose texts overlap": with_segment(0xE1, exif_whose_texts_overlap()),
    "an orientation of 32 bits": with_segment(0xE1, damaged(exif_of_big_endian(), b"\x12\0\x03", b"\x12\0\x04")),
    "a resolution of 16 bits": with_segment(0xE1, damaged(exif_of_big_endian(), b"\x12\0\x03", b"\x1a\0\x03")),
    "an orientation in XMP": with_segment(0xE1, XMP + b'<rdf tiff:Orientation="6"/>'),
    "very many segments": jpeg()[:2] + segment(0xFE, b"") * 100 + jpeg()[2:],
    "a header of a MiB": jpeg()[:2] + segment(0xFE, bytes(65_000)) * 17 + jpeg()[2:],
}


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_whatever_leaves_a_doubt_is_left_to_pillow(kind: str) -> None:
    assert ordinary_header(DOUBTFUL[kind]) is None


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", str(40 * 24))
    assert decode_image(jpeg()).shape == (24, 40, 3)
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", str(40 * 24 - 1))
    with patch.object(decode, "decode_jpeg", side_effect=AssertionError), pytest.raises(ImageTooLarge, match="40 x 24"):
        decode_image(jpeg())


def test_the_least_size_is_asked_for_once_where_pillow_has_to_decode_after_all() -> None:
    asked = []
    with patch.object(decode, "decode_jpeg", return_value=None):
        decode_rgb(jpeg(), least=lambda size: asked.append(size) or size)  # type: ignore[func-returns-value]
    assert asked == [(24, 40)]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(ORDINARY)),
    st.lists(st.tuples(st.integers(2, 700), st.binary(min_size=1, max_size=3)), min_size=1, max_size=3),
)
def test_a_damaged_header_is_read_or_refused_as_by_pillow_alone(kind: str, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(ORDINARY[kind])
    for place, new in changes:
        data[place : place + len(new)] = new
    with patch.object(decode, "ordinary_header", return_value=None):
        expected = outcome(bytes(data))
    assert outcome(bytes(data)) == expected
