"""The limits of images, at the last value that passes and the first that does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.bundle.images.limits import MAX_BYTES, MAX_PIXELS, check_bytes, file_too_large, max_pixels
from convsmith.errors import ConvsmithError

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
