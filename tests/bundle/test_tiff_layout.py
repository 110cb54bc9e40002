"""The layout that the tags of a TIFF tell, and the kinds that are left to others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL.ExifTags import Base

from convsmith.bundle.images.tiff_bands import Layout, layout_of

PLAIN: dict[int, Any] = {
    Base.ImageWidth: 30,
    Base.ImageLength: 20,
    Base.SamplesPerPixel: 4,
    Base.BitsPerSample: (16, 16, 16, 16),
    Base.SampleFormat: (1, 1, 1, 1),
    Base.RowsPerStrip: 7,
}
WORDS = np.dtype("<u2")
BITS, FORMAT, COLOURS = Base.BitsPerSample, Base.SampleFormat, Base.PhotometricInterpretation


def test_nothing_said_is_one_band_of_strips_upright() -> None:
    assert layout_of(PLAIN, b"II") == Layout(20, 30, 4, WORDS, (7, 30), False, False, 1, 1)
    least: dict[int, Any] = {Base.ImageWidth: 1, Base.ImageLength: 1, BITS: (8,)}
    assert layout_of(least, b"II") == Layout(1, 1, 1, np.dtype("u1"), (1, 1), False, False, 1, 1)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({Base.RowsPerStrip: 2**32 - 1}, {"tile": (20, 30)}),
        ({Base.TileWidth: 16, Base.TileLength: 32}, {"tile": (32, 16), "is_tiled": True}),
        ({Base.PlanarConfiguration: 2}, {"separate": True}),
        ({Base.PlanarConfiguration: 1}, {"separate": False}),
        ({Base.PlanarConfiguration: 2, Base.SamplesPerPixel: 1}, {"separate": False, "bands": 1}),
        ({Base.Orientation: 6}, {"orientation": 6}),
        ({COLOURS: 2}, {"colours": 2}),
        ({COLOURS: 0, BITS: (8,)}, {"colours": 0, "dtype": np.dtype("u1")}),
        *(({FORMAT: (1,), BITS: (bits,)}, {"dtype": np.dtype(f"<u{bits // 8}")}) for bits in (8, 16, 32)),
        *(({FORMAT: (2,), BITS: (bits,)}, {"dtype": np.dtype(f"<i{bits // 8}")}) for bits in (8, 16, 32)),
        *(({FORMAT: (3,), BITS: (bits,)}, {"dtype": np.dtype(f"<f{bits // 8}")}) for bits in (32, 64)),
        *(({Base.Compression: kind}, {}) for kind in (1, 5, 8, 32773, 32946, 50000)),
        ({Base.Predictor: 2}, {}),
        ({Base.Predictor: 3, FORMAT: (3,), BITS: (32,)}, {"dtype": np.dtype("<f4")}),
        ({Base.FillOrder: 1, Base.NewSubfileType: 2}, {}),
    ],
    ids=str,
)
def test_a_tag_changes_what_it_says(tags: dict[int, Any], expected: dict[str, Any]) -> None:
    plain = layout_of(PLAIN, b"II")
    assert plain is not None
    assert layout_of(PLAIN | tags, b"II") == plain._replace(**expected)


def test_the_other_order_of_bytes_is_that_of_the_file() -> None:
    found = layout_of(PLAIN, b"MM")
    assert found is not None
    assert found.dtype == np.dtype(">u2")


@pytest.mark.parametrize(
    "tags",
    [
        {BITS: (8, 16)},
        {FORMAT: (1, 2)},
        {BITS: (12,)},
        {BITS: (1,)},
        {BITS: (64,)},
        {FORMAT: (2,), BITS: (64,)},
        {FORMAT: (3,), BITS: (16,)},
        {FORMAT: (4,)},
        {FORMAT: (6,)},
        {Base.Compression: 7},
        {Base.Compression: 2},
        {Base.Compression: 34712},
        {Base.FillOrder: 2},
        {Base.Predictor: 3},
        {Base.Predictor: 2, FORMAT: (3,), BITS: (32,)},
        {Base.Predictor: 0},
        {COLOURS: 0},
        {COLOURS: 0, BITS: (8,), FORMAT: (2,)},
        {COLOURS: 3},
        {COLOURS: 6},
        {Base.NewSubfileType: 1},
        {Base.ImageWidth: 0},
        {Base.ImageLength: 0},
    ],
    ids=str,
)
def test_other_kinds_are_left_to_others(tags: dict[int, Any]) -> None:
    assert layout_of(PLAIN | tags, b"II") is None


def test_without_a_size_there_is_no_layout() -> None:
    for lacking in (Base.ImageWidth, Base.ImageLength):
        assert layout_of({tag: value for tag, value in PLAIN.items() if tag != lacking}, b"II") is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_picture(orientation: int) -> None:
    found = layout_of(PLAIN | {Base.Orientation: orientation}, b"II")
    assert found is not None
    assert found.size == ((20, 30) if orientation < 5 else (30, 20))
