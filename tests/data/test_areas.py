"""Areas of images as numbers: read from JSON piece by piece, packed, and drawn in their order."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convsmith.data.polygons import annotation_files
from convsmith.data.polygons.annotation_files import (
    ImagePlaces,
    check_size,
    check_text,
    head_of,
    members_of,
    read_text,
    relative,
)
from convsmith.data.polygons.fill import problem_of, problem_of_shares
from convsmith.data.polygons.outlines import (
    OutlinedImage,
    Outlines,
    Runs,
    Shape,
    box_corners,
    corners_of,
    ellipse_corners,
    numbers_of,
    turned,
)
from convsmith.data.polygons.packed_shapes import PackedShapes, ShapesBuilder
from convsmith.data.polygons.run_lengths import check_runs, unpack_runs
from convsmith.errors import ConvsmithError


def members(folder: Path, text: str) -> list[tuple[str, object]]:
    (folder / "a.json").write_text(text)
    return list(members_of(folder / "a.json"))


def test_the_members_of_a_json_file_are_read_one_by_one(tmp_path: Path) -> None:
    text = ' {"a" : [1, {"b": [2]} ,3 ] ,\n"c": {"d": 4}, "e": [], "f":"x"}\n'
    assert members(tmp_path, text) == [("a", 1), ("a", {"b": [2]}), ("a", 3), ("c", {"d": 4}), ("f", "x")]
    assert members(tmp_path, "\ufeff{ }") == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected { at character 0"),
        ("[1]", "expected { at character 0"),
        ('{"a": 1', "expected , or } at character 7"),
        ('{"a" 1}', "expected : at character 5"),
        ('{"a": [1, ]}', "a comma before the end at character 10"),
        ('{"a": 1, }', "a comma before the end at character 9"),
        ('{"a": [1 2]}', "expected , or ] at character 9"),
        ('{"a": 1} x', "more follows behind character 7"),
        ("{1: 2}", "a key is not text, before character 2"),
        ('{"a": ' + "[" * 100_000, "it is nested too deep"),
    ],
)
def test_what_is_not_such_a_file_is_said_with_its_place(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConvsmithError) as error:
        members(tmp_path, text)
    assert error.value.what.endswith("is not JSON of annotations")
    assert error.value.why == why


def test_a_file_has_so_many_bytes_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (annotation_files.MAX_BYTES, annotation_files.HEAD) == (2_147_483_648, 65_536)
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf123")
    assert read_text(tmp_path / "a", 6) == "123"
    with pytest.raises(ConvsmithError, match=r"is too large: such a file may have 5 bytes"):
        read_text(tmp_path / "a", 5)
    monkeypatch.setattr(annotation_files, "HEAD", 4)
    assert head_of(tmp_path / "a") == b"\xef\xbb\xbf1"
    assert head_of(tmp_path) == head_of(tmp_path / "none") == b""
    (tmp_path / "a").write_bytes(b"\xff")
    with pytest.raises(ConvsmithError, match="is not UTF-8"):
        read_text(tmp_path / "a")


def test_images_are_looked_for_where_the_last_one_lay_and_by_their_name_alone(tmp_path: Path) -> None:
    for name in ("one/a.png", "two/a.png", "two/b.png", "three/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    places = ImagePlaces(tmp_path, ["one", "two"])
    assert places.find("a.png") == "one/a.png"
    assert places.find("b.png") == "two/b.png"
    assert places.find("a.png") == "two/a.png"
    assert places.find("a.png", "one") == "one/a.png"
    assert places.find(".\\far\\b.png") == "two/b.png"
    assert places.find("c.png", "three") == "three/c.png"
    assert places.find("a.png") == "one/a.png"  # the last folder is none of its own
    assert places.find("far/none.png") == "one/far/none.png"
    assert (relative(tmp_path, tmp_path), relative(tmp_path / "one", tmp_path)) == ("", "one")


@pytest.mark.parametrize("value", [None, 1, "", " \n", "a\0b", "\udcff"])
def test_what_is_not_text_for_a_file_system_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="has a name that is not text"):
        check_text(value, "a name")
    assert check_text(" a", "a name") == " a"


def test_sides_are_whole_numbers() -> None:
    assert check_size(3.0, 4) == (3, 4)
    for sides in ((3.5, 4), (3, None), (True, 4), ("3", 4)):
        with pytest.raises(ValueError, match="does not say its width and height as whole numbers"):
            check_size(*sides)


def test_corners_are_pairs_of_numbers() -> None:
    assert corners_of([1, 2.5, 3, 4]) == array("d", [1, 2.5, 3, 4])
    with pytest.raises(ValueError, match="has a polygon of 3 numbers, an odd count"):
        corners_of([1, 2, 3])
    for values in ((1, 2), [1, "2"], [True, 2], None):
        with pytest.raises(ValueError, match="has a polygon that is not a list of numbers"):
            corners_of(values)
    with pytest.raises(ValueError, match="has points with a number beyond any image"):
        numbers_of([10**400], "points")


def test_boxes_and_ellipses_are_turned_clockwise() -> None:
    box = box_corners(0, 0, 4, 2)
    assert box == array("d", [0, 0, 4, 0, 4, 2, 0, 2])
    assert turned(box, (2, 1), 0) is box
    assert list(turned(box, (2, 1), 90)) == pytest.approx([3, -1, 3, 3, 1, 3, 1, -1])
    assert list(turned(box, (2, 1), 450)) == pytest.approx(list(turned(box, (2, 1), 90)))
    points = np.array(ellipse_corners(10, 20, 4, 2)).reshape(-1, 2)
    assert len(points) == 360
    np.testing.assert_allclose(points[[0, 90, 180, 270]], [[14, 20], [10, 22], [6, 20], [10, 18]])
    np.testing.assert_allclose(np.array(ellipse_corners(10, 20, 4, 2, 90)).reshape(-1, 2)[0], [10, 24])


def polygon(*corners: float) -> array[float]:
    return array("d", corners)


FAR, LONG = "far outside the image of 10 x 20 pixels", "more than an image of 10 x 20 has room for"
SQUARE = np.array([[0, 0], [4, 0], [4, 4], [0, 4.0]])


@pytest.mark.parametrize(
    ("corners", "problem"),
    [
        (SQUARE, None),
        (SQUARE[:3], None),
        (SQUARE[:2], "has a polygon of 2 corners, and three are the least"),
        (np.array([[0, 0], [4, 0], [np.nan, 4]]), "has a corner that is not a number"),
        (np.array([[-10, -20], [20, 0], [0, 40.0]]), None),
        (np.array([[0, 0], [0, 5], [20.5, 0]]), "has a corner at x 20.5, y 0, " + FAR),
        (
            np.array([[0, 0], [0, 5], [0, -20.5]]),
            "has a corner at x 0, y -20.5, " + FAR,
        ),
        (np.array([[0, 0], [10, 0]] * 64), None),
        (
            np.array([[0, 0], [10, 0]] * 65),
            "has an outline of 1,300 pixels, " + LONG,
        ),
    ],
)
def test_a_polygon_that_cannot_be_in_an_image_is_said(corners: Any, problem: str | None) -> None:
    assert problem_of(corners, 20, 10) == problem


def test_shares_of_an_image_reach_once_as_far_beyond_it() -> None:
    assert problem_of_shares(np.array([[-1, -1], [2, 2], [0, 0.5]])) is None
    assert problem_of_shares(np.array([[0, 0], [2.5, 0], [0, 1]])) == (
        "has a corner at x 2.5, y 0, far outside the image, which is 0 to 1"
    )
    assert problem_of_shares(SQUARE[:1]) == "has a polygon of 1 corners, and three are the least"


def packed(*images: OutlinedImage, small_above: bool = False) -> PackedShapes:
    builder = ShapesBuilder(Outlines(Path("a.json"), Path(), (), small_above))
    for image in images:
        builder.add(image)
    return builder.build()


def image(size: tuple[int, int] | None, *shapes: tuple[str | None, Any]) -> OutlinedImage:
    made = tuple(Shape(label, (area,), f"shape {number}") for number, (label, area) in enumerate(shapes))
    return OutlinedImage("a.png", size, "", made, "image a")


def box(left: int, top: int, width: int, height: int) -> Runs:
    return Runs((left, top, width, height), np.array([0, width * height]), by_columns=False)


VALUES = np.array([1, 2, 0, 255], np.uint8)
"""Of the first label, of the second one, of no area, and of what does not count."""


def test_later_areas_are_above_and_what_does_not_count_is_below() -> None:
    found = packed(
        image((4, 1), ("a", box(0, 0, 2, 1)), ("b", box(1, 0, 2, 1)), (None, box(0, 0, 4, 1))),
        image((2, 2), ("b", polygon(0, 0, 1, 0, 1, 2, 0, 2))),
        image((1, 1)),
    )
    assert found.names == ("a", "b")
    assert found.draw(0, (4, 1), VALUES).tolist() == [[1, 2, 2, 255]]
    assert found.draw(1, (2, 2), VALUES).tolist() == [[2, 0], [2, 0]]
    assert found.draw(2, (1, 1), VALUES).tolist() == [[0]]
    assert found.images.tolist() == [3, 4, 4]
    assert found.sizes.tolist() == [[4, 1], [2, 2], [1, 1]]


def test_smaller_areas_are_above_larger_ones_where_their_order_means_nothing() -> None:
    found = packed(image((4, 1), ("a", box(1, 0, 1, 1)), ("b", box(0, 0, 3, 1))), small_above=True)
    assert found.names == ("b", "a")
    assert found.draw(0, (4, 1), VALUES).tolist() == [[1, 2, 1, 0]]
    found = packed(image((4, 1), ("a", polygon(1, 0, 2, 0, 2, 1, 1, 1)), ("b", box(0, 0, 3, 1))), small_above=True)
    assert found.draw(0, (4, 1), VALUES).tolist() == [[1, 2, 1, 0]]


def test_runs_go_down_the_columns_or_along_the_rows() -> None:
    counts = np.array([1, 2, 1])
    down, along = Runs((1, 0, 2, 2), counts, by_columns=True), Runs((1, 0, 2, 2), counts, by_columns=False)
    assert packed(image((3, 2), ("a", down))).draw(0, (3, 2), VALUES).tolist() == [[2 * 0, 0, 1], [0, 1, 0]]
    assert packed(image((3, 2), ("a", along))).draw(0, (3, 2), VALUES).tolist() == [[0, 0, 1], [0, 1, 0]]
    counts = np.array([1, 1, 2])
    down, along = Runs((0, 0, 2, 2), counts, by_columns=True), Runs((0, 0, 2, 2), counts, by_columns=False)
    assert packed(image((2, 2), ("a", down))).draw(0, (2, 2), VALUES[1:]).tolist() == [[0, 0], [2, 0]]
    assert packed(image((2, 2), ("a", along))).draw(0, (2, 2), VALUES[1:]).tolist() == [[0, 2], [0, 0]]


def test_corners_of_an_image_whose_size_is_not_said_are_shares_of_it() -> None:
    found = packed(image(None, ("a", polygon(0, 0, 0.5, 0, 0.5, 1, 0, 1))))
    assert found.draw(0, (4, 2), VALUES[1:]).tolist() == [[2, 2, 0, 0], [2, 2, 0, 0]]
    long = packed(image(None, ("a", polygon(*([0, 0, 1, 0] * 200)))))
    with pytest.raises(ValueError, match="has an outline of"):
        long.draw(0, (4, 2), VALUES)


def test_labels_that_some_images_use() -> None:
    found = packed(
        image((4, 4), ("a", box(0, 0, 1, 1))),
        image((4, 4), (None, box(0, 0, 1, 1)), ("b", box(0, 0, 1, 1))),
        image((4, 4)),
    )
    for chosen, used in (([0], [True, False]), ([1], [False, True]), ([2], [False, False]), ([0, 1], [True, True])):
        assert found.used(np.array(chosen)).tolist() == used


def test_the_stats_of_an_image_are_its_own_and_tell_areas_apart() -> None:
    one, two = ("a", box(0, 0, 1, 1)), ("b", box(0, 0, 1, 1))
    found = packed(image((4, 4), one), image((4, 4), two), image((4, 4)), image((4, 4), one), image((5, 4), one))
    assert found.stats[:, 0].tolist() == [8 * 6 + 1, 8 * 6 + 1, 1, 8 * 6 + 1, 8 * 6 + 1]
    hashes = found.stats[:, 1].tolist()
    assert hashes[0] == hashes[3]
    assert len(set(hashes)) == 4
    assert packed(image((4, 4), one)).stats.tolist() == found.stats[:1].tolist()


@pytest.mark.parametrize(
    ("size", "area", "said"),
    [
        ((4, 4), box(1, 0, 4, 1), "image a of a.json has a mask of 4 x 1 pixels at x 1, y 0, outside"),
        ((4, 4), box(0, 1, 1, 4), "at x 0, y 1, outside"),
        ((4, 4), box(-1, 0, 1, 1), "at x -1, y 0, outside"),
        ((4, 4), box(0, 0, 0, 4), "has a mask of 0 x 4 pixels"),
        ((4, 4), Runs((0, 0, 2, 2), np.array([1, 2]), False), "its counts add up to 3, but there are 4 pixels"),
        ((0, 4), box(0, 0, 1, 1), "image a of a.json says that it has 0 x 4 pixels"),
        ((10**6, 10**6), box(0, 0, 1, 1), "says that it has 1,000,000 x 1,000,000 pixels"),
        (None, polygon(0, 0, 3, 0, 0, 1), "far outside the image, which is 0 to 1"),
    ],
)  # fmt: skip
def test_an_area_that_cannot_be_in_its_image_is_named(size: Any, area: Any, said: str) -> None:
    with pytest.raises(ConvsmithError) as error:
        packed(image(size, ("a", area)))
    assert said in str(error.value)
    packed(image((4, 4), ("a", box(0, 0, 4, 4)), ("a", box(3, 3, 1, 1))), image((1, 1)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "its text is empty or cut off"),
        ("o", "its text is empty or cut off"),
        ("/", "holds characters that are not of a compressed RLE"),
        ("p", "holds characters that are not of a compressed RLE"),
        ("\u00e9", "holds characters that are not of a compressed RLE"),
        ("Q" * 7 + "0", "a number in its text is longer than any count"),
    ],
)
def test_text_that_is_not_packed_runs_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        unpack_runs(text)


def test_packed_runs_have_five_bits_in_a_character_and_differences_from_the_fourth_on() -> None:
    assert unpack_runs("0").tolist() == [0]
    assert unpack_runs("123").tolist() == [1, 2, 3]
    assert unpack_runs("1231O").tolist() == [1, 2, 3, 3, 2]  # O is -1
    assert unpack_runs("R1").tolist() == [34]
    assert unpack_runs("P" * 6 + "1").tolist() == [2**30]


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ([1.0, 3], "not whole numbers of at least 0"),
        ([-1, 5], "not whole numbers of at least 0"),
        ([True, 3], "not whole numbers of at least 0"),
        ([2**70], "beyond any image"),
        ([5], "its counts reach from 5 to 5, of 4 pixels"),
        ([1, 2], "its counts add up to 3, but there are 4 pixels"),
        (np.array([-1, 4]), "its counts reach from -1 to 4, of 4 pixels"),
    ],
)
def test_counts_that_are_not_those_of_all_pixels_are_refused(counts: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_runs(counts, 4)
    assert check_runs([0, 4], 4).tolist() == [0, 4]
    assert check_runs([], 0).tolist() == []
