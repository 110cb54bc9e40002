"""The cost of decoding is read from the header, and more than is allowed is refused."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image

from convsmith.bundle.images.budget import LONGEST_SIDE, SERVED_PIXELS, served_pixels, weigh
from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.errors import ConvsmithError
from tests.hostile_images import (
    bmp_of_runs,
    jpeg_of_fill_in_the_scan,
    png,
    progressive_jpeg,
    tiff_of_strips,
    tiff_of_tiles,
    webp,
)


def saved(kind: str, size: tuple[int, int] = (100, 80)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
def test_an_ordinary_image_weighs_its_pixels(kind: str) -> None:
    assert 8000 <= weigh(saved(kind), "it", 8000) < 20_000


@pytest.mark.parametrize(
    "make",
    [
        lambda: webp(8192, 8192),
        lambda: png((1, LONGEST_SIDE + 1)),
        lambda: png((LONGEST_SIDE + 1, 1)),
        lambda: bmp_of_runs(2000, 1000, b"\1\0\0\0"),
        lambda: bmp_of_runs(1000, 1000, b"\1\1" * 1000 + b"\0\0"),
        lambda: png((4000, 4000), bits=16, colours=6),
        lambda: progressive_jpeg(4000, 1000, 150),
        lambda: tiff_of_strips(20_000),
        lambda: jpeg_of_fill_in_the_scan(10_000_000),
        lambda: tiff_of_tiles(1, side=8000),
    ],
    ids=["webp", "column", "row", "runs", "many runs", "16 bits", "scans", "strips", "bytes", "tile"],
)
def test_a_small_file_that_is_much_work_is_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(ImageTooLarge, match=r"allowed here|bytes for"):
        weigh(make(), "it", SERVED_PIXELS)


def test_the_tiles_of_an_image_weigh_what_is_drawn_of_them() -> None:
    assert weigh(tiff_of_tiles(3, side=16), "it", SERVED_PIXELS) >= 3 * 16 * 16


def test_an_image_is_refused_from_the_first_pixel_over_the_limit() -> None:
    with pytest.raises(ImageTooLarge, match="it has 100 x 80 pixels; 7,999 are allowed here"):
        weigh(saved("PNG"), "it", 7999)


def test_the_usual_limit_gives_way_to_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert served_pixels(None) == SERVED_PIXELS
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", "90000000")
    assert served_pixels(None) == 90_000_000
    assert served_pixels(80_000_000) == 80_000_000


def test_more_than_is_ever_decoded_cannot_be_served() -> None:
    with pytest.raises(ConvsmithError, match="--max-pixels 70000000 is more than is ever decoded"):
        served_pixels(70_000_000)
