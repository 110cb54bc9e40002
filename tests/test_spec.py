"""What recipe and bundle share: bounds of values, and which of them go together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from convsmith.spec import (
    IGNORED,
    RGB,
    Byte,
    Count,
    Fraction,
    NonNegative,
    Positive,
    Preprocess,
    Section,
    Share,
    Side,
    WholeImage,
    Window,
)

SQUARE = {"resize": 8, "crop": 8}
WHOLE = {"method": "whole"}
WINDOW = {"size": (8, 6)}


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        (Fraction, (0, 1), (-0.1, 1.1)),
        (Share, (0.01, 1), (0, 1.1)),
        (NonNegative, (0, 7.5), (-0.1,)),
        (Positive, (0.5, 7.5), (0, -1)),
        (Count, (1, 10**9), (0,)),
        (Byte, (0, 255), (-1, 256)),
        (Side, (1, 4096), (0, 4097)),
    ],
)
def test_a_number_has_its_bounds(kind: Any, taken: tuple[float, ...], refused: tuple[float, ...]) -> None:
    adapter = TypeAdapter(kind)
    assert [adapter.validate_python(number) for number in taken] == list(taken)
    for number in refused:
        with pytest.raises(ValidationError):
            adapter.validate_python(number)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (Preprocess, {**SQUARE, "method": "warp"}),
        (Preprocess, {**SQUARE, "method": "crop_then_resize"}),
        (Preprocess, {**SQUARE, "resize": 9, "method": "crop_then_resize"}),
        (Preprocess, {**SQUARE, "resize": 4}),
        (Preprocess, {**SQUARE, "mean": (0.5,), "std": (0.5,), "range": (-1.0, 1.0)}),
        (Preprocess, {**SQUARE, "mean": (0.5,) * 1024, "std": (0.5,) * 1024}),
        (Window, {**WINDOW, "stride": (8, 6)}),
        (WholeImage, {**WHOLE, "scales": (0.01, 4.0)}),
        (WholeImage, {**WHOLE, "warp": True, "base_size": 1}),
    ],
)
def test_what_goes_together_is_taken(section: type[Section], values: dict[str, Any]) -> None:
    assert section(**values).model_dump().items() >= values.items()


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        (Preprocess, {**SQUARE, "resize": 9, "method": "warp"}, r"both sides to `crop` \(8\).*not 9"),
        (Preprocess, {**SQUARE, "resize": 7, "method": "crop_then_resize"}, r"\(7\) cannot be below `crop` \(8\)"),
        (Preprocess, {**SQUARE, "mean": (0.5,)}, "mean has 1 values, but std has 3"),
        (Preprocess, {**SQUARE, "mean": (), "std": ()}, "at least 1 item"),
        (Preprocess, {**SQUARE, "mean": (0.5,) * 1025, "std": (0.5,) * 1025}, "at most 1024 items"),
        (Preprocess, {**SQUARE, "range": (5.0, 5.0)}, "5 is not below 5"),
        (Preprocess, {**SQUARE, "range": (5.0, 4.0)}, "5 is not below 4"),
        (Preprocess, {**SQUARE, "range": (0.0, float("inf"))}, "finite number"),
        (Preprocess, {**SQUARE, "size": 3}, "Extra inputs are not permitted"),
        (Window, {**WINDOW, "stride": (8, 7)}, r"stride \[8, 7\] is larger than size \[8, 6\]"),
        (WholeImage, {**WHOLE, "scales": (0.0,)}, "greater than 0"),
        (WholeImage, {**WHOLE, "scales": (4.1,)}, "less than or equal to 4"),
        (WholeImage, {**WHOLE, "scales": ()}, "at least 1 item"),
        (WholeImage, {**WHOLE, "warp": True}, "warp makes both sides base_size, which is null"),
    ],
)
def test_what_does_not_go_together_is_refused(section: type[Section], values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        section(**values)


def test_a_section_stays_as_it_was_read() -> None:
    window = Window(size=(8, 6))
    with pytest.raises(ValidationError, match="frozen"):
        window.border = "shift"  # type: ignore[misc]


def test_what_is_not_said_of_an_image_is_the_usual() -> None:
    assert RGB == (3, None)
    assert IGNORED == 255
    assert Preprocess(resize=8, crop=6).bands == RGB
    assert Preprocess(resize=8, crop=6, range=(0.0, 9.0)).bands == (3, (0.0, 9.0))
    whole = WholeImage(method="whole").model_dump(exclude={"mean", "std", "range"})
    assert whole == {
        "method": "whole", "base_size": None, "warp": False, "scales": (1.0,), "flip": False, "mirrored_classes": (),
        "window": None, "align_corners": False,
    }  # fmt: skip
    assert (Preprocess.filtered, WholeImage.filtered) == (True, False)


def test_the_sizes_that_a_model_sees_are_one_or_any() -> None:
    whole, windows = WholeImage(method="whole"), WholeImage(method="whole", window=Window(size=(8, 6)))
    assert Preprocess(resize=9, crop=8).only_size() == (8, 8)
    assert [whole.only_size(True), windows.only_size(), windows.only_size(True)] == [None, None, (8, 6)]


def test_classes_that_change_places_are_classes_that_there_are() -> None:
    whole = WholeImage(method="whole", mirrored_classes=((0, 3), (1, 2)))
    whole.check_classes(4)
    with pytest.raises(ValueError, match=r"the pair \[0, 3\], but classes are 0 to 2"):
        whole.check_classes(3)
    with pytest.raises(ValueError, match=r"the pair \[-1, 0\]"):
        WholeImage(method="whole", mirrored_classes=((-1, 0),)).check_classes(4)
