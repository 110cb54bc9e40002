"""The cost of decoding is read from the header, and more than is allowed is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from convsmith.bundle.images.budget import (
    BYTES_OF_PIXEL,
    LONGEST_SIDE,
    MOST_BYTES,
    MOST_PIECES,
    SERVED_PIXELS,
    served_pixels,
    weigh,
)
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


def test_the_work_is_pixels_pieces_and_bytes() -> None:
    data = saved("BMP")
    assert weigh(data, "it", 8000) == 8000 + len(data) // 4
    strips = tiff_of_strips(30)
    with Image.open(io.BytesIO(strips)) as image:
        width, height = image.size
    assert weigh(strips, "it", SERVED_PIXELS) == width * height + 500 * 30 + len(strips) // 4


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_may_have_16_bytes_a_pixel_and_a_mib(kind: str) -> None:
    data = saved(kind)
    fits = data + bytes(2**20 + 16 * 8000 - len(data))
    weigh(fits, "it", SERVED_PIXELS)
    with pytest.raises(ImageTooLarge, match=f"it has {len(fits) + 1:,} bytes for 100 x 80 pixels"):
        weigh(fits + b"\0", "it", SERVED_PIXELS)


@pytest.mark.parametrize(
    ("make", "weight"),
    [
        (lambda: png((100, 80), bits=16, colours=6), 2),
        (lambda: png((100, 80), bits=16, colours=2), 2),
        (lambda: progressive_jpeg(100, 80, 40), 3.125),
        (lambda: bmp_of_runs(100, 80, b"\1\0\0\0"), 16),
    ],
)
def test_a_costly_kind_counts_so_many_times(make: Callable[[], bytes], weight: float) -> None:
    data = make()
    weigh(data, "it", round(8000 * weight))
    kind = f"it has 100 x 80 pixels of a kind that counts {weight:.3g} times; {round(8000 * weight) - 1:,} are allowed"
    with pytest.raises(ImageTooLarge, match=kind):
        weigh(data, "it", round(8000 * weight) - 1)


def test_the_limits_are_those_of_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "serving-production.md").read_text("utf-8")
    assert f"at most `--max-pixels`, {SERVED_PIXELS // 10**6} million by default" in text
    assert f"at most {LONGEST_SIDE:,} pixels a side, {MOST_PIECES:,} strips" in text
    assert f"{MOST_BYTES} bytes a pixel and a MiB besides" in text
    assert f"at most {BYTES_OF_PIXEL} bytes a pixel while it lasts" in text
