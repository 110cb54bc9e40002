"""Parts of the images in words."""

from __future__ import annotations

from convsmith.bundle.figures.slices import Slice, Slices


def part(value: float, images: int = 52, stands_out: bool = True, **more: str) -> Slice:
    return Slice({"class": "cat", **more}, images, value, (0.141, 0.362), 0.71, stands_out)


def test_a_part_is_said_with_its_figure_interval_and_what_was_expected() -> None:
    text = str(part(0.234, brightness="3.1 to\x1b 40.2"))
    assert text == "class cat, brightness 3.1 to\\x1b 40.2: 23.4% (14.1 to 36.2) of 52 images, 71.0% expected"
    assert str(part(1, images=1)) == "class cat: 100.0% (14.1 to 36.2) of 1 image, 71.0% expected"


def test_no_parts_are_not_spoken_of() -> None:
    assert list(Slices("top1", 0.5, {}, ()).lines()) == []


def test_parts_of_which_none_stands_out_are_counted() -> None:
    slices = Slices("top1", 0.514, {}, (part(0.5, stands_out=False),) * 3)
    assert slices.worst == ()
    assert list(slices.lines()) == ["No part of the images stands out: top-1 of all images is 51.4%; 3 were compared."]


def test_the_five_worst_are_named() -> None:
    worst = tuple(part(number / 10) for number in range(5))
    slices = Slices("f1_samples", 0.75, {}, (*worst, part(0.9, stands_out=False)))
    head = "Worse than chance explains (F1 of images of all images is 75.0%; 6 parts were compared):"
    assert slices.worst == worst
    assert list(slices.lines()) == [head, *(f"  {it}" for it in worst)]
    more = Slices("f1_samples", 0.75, {"brightness": (0.0, 1.0)}, (*worst, part(0.6), part(0.7)))
    assert list(more.lines())[6:] == ["  and 2 more, in the numbers as JSON"]
    assert more.to_dict()["edges"] == {"brightness": (0.0, 1.0)}
    assert more.to_dict()["slices"][0] == {
        "conditions": {"class": "cat"},
        "images": 52,
        "value": 0.0,
        "interval": (0.141, 0.362),
        "expected": 0.71,
        "stands_out": True,
    }
