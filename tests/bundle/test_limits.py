"""The limits of images, at the last value that passes and the first that does not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from convsmith.bundle.images import read_bytes as read_bytes_module
from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.bundle.images.limits import MAX_BYTES, MAX_PIXELS, check_bytes, file_too_large, max_pixels
from convsmith.bundle.images.open_image import open_image
from convsmith.bundle.images.read_bytes import read_bytes, read_open, read_stream
from convsmith.errors import ConvsmithError
from tests.hostile_images import progressive_jpeg

DOCS = Path(__file__).parents[2] / "docs"


def test_the_limits_are_those_of_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVSMITH_MAX_PIXELS", raising=False)
    text = (DOCS / "bundle.md").read_text("utf-8")
    assert f"{max_pixels():,} pixels (8192 x 8192) and a file {MAX_BYTES / 2**20:g} MiB" in text
    assert max_pixels() == MAX_PIXELS == 8192**2
    assert file_too_large("it.png").why == "an image file may have 256 MiB"


@pytest.mark.parametrize("text", ["0", "-1", "1e6", "many", "½"])
def test_a_limit_that_is_not_a_whole_number_above_0_is_an_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", text)
    with pytest.raises(ConvsmithError, match=f"CONVSMITH_MAX_PIXELS is `{text}`"):
        max_pixels()


@pytest.mark.parametrize(
    ("width", "height", "size", "why"),
    [
        (10, 10, 1, ""),
        (10, 10, 4, ""),
        (101, 1, 1, "it has 101 x 1 = 101 pixels; 100 are allowed"),
        (10, 10, 5, "it has 10 x 10 pixels of 5 bytes, which count as 125; 100 are allowed"),
        (10, 8, 5, ""),
        (27, 3, 5, "it has 27 x 3 pixels of 5 bytes, which count as 101; 100 are allowed"),
    ],
)
def test_pixels_are_allowed_up_to_the_limit(
    width: int, height: int, size: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", "100")
    if not why:
        check_bytes(width, height, size, "it.png")
        return
    with pytest.raises(ImageTooLarge) as caught:
        check_bytes(width, height, size, "it.png")
    assert (caught.value.what, caught.value.why) == ("it.png is too large", why)


@pytest.mark.parametrize(("size", "refused"), [(50, False), (51, True)])
def test_a_file_may_have_so_many_bytes(
    size: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_bytes_module, "MAX_BYTES", 50)
    monkeypatch.setattr(read_bytes_module, "_USUAL_BYTES", 20)
    content = bytes(range(size))
    file = tmp_path / "it.png"
    file.write_bytes(content)
    ways: list[Callable[[], bytes]] = [
        lambda: read_bytes(file),
        lambda: read_open(io.BytesIO(content), "it"),
        lambda: read_stream(io.BytesIO(content), "it"),
    ]
    for read in ways:
        if not refused:
            assert read() == content
            continue
        with pytest.raises(ImageTooLarge, match="too large"):
            read()


def test_a_stream_is_read_from_its_start_and_an_open_file_from_where_it_stands() -> None:
    stream = io.BytesIO(b"abcdef")
    stream.seek(2)
    assert read_open(stream, "it") == b"cdef"
    assert read_stream(stream, "it") == b"abcdef"


@pytest.mark.parametrize("scans", [99, 100])
def test_the_largest_jpeg_may_be_drawn_100_times(scans: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", str(16 * 24))
    data = progressive_jpeg(16, 24, 50)
    there = data.count(b"\xff\xda")
    data = data[:-2] + data[data.rindex(b"\xff\xda") : -2] * (scans - there) + b"\xff\xd9"
    assert data.count(b"\xff\xda") == scans
    with open_image(data):
        pass
    more = data[:-2] + data[data.rindex(b"\xff\xda") : -2] * (101 - scans) + b"\xff\xd9"
    with pytest.raises(ImageTooLarge, match="it draws 16 x 24 pixels 101 times over"), open_image(more):
        pass
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", str(2 * 16 * 24))
    with open_image(more):
        pass
