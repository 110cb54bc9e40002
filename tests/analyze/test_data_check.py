"""What is printed, and shown on a page, of a data set, from findings alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convsmith.analyze.contact_sheet import Tile
from convsmith.analyze.data_check import DataCheck
from convsmith.analyze.data_page import names_shown, page
from convsmith.analyze.data_pictures import data_url
from convsmith.analyze.data_tables import class_table, label_table, shown_classes
from convsmith.analyze.label_errors import LabelError, LabelErrors
from convsmith.analyze.picture_names import free_stem, refuse_inside
from convsmith.data.checks.check import BadFile
from convsmith.data.checks.copies import Copies
from convsmith.data.checks.facts import Sizes, SplitFacts, Suspects
from convsmith.errors import ConvsmithError
from convsmith.tables import table_text

TRAIN = SplitFacts(1500, (1000, 500), Sizes((8, 9), (10, 20), (30, 40)), {"JPEG RGB": 1400, "PNG L": 100})
VAL = SplitFacts(20, (15, 5), None, {})


def check(**changes: Any) -> DataCheck:
    """Findings about 1,520 images in two classes."""
    values: dict[str, Any] = {
        "classes": ("cat", "dog\x1b"),
        "samples": {"train": 1500, "val": 20},
        "sizes": {"train": ((8, 9), (30, 40)), "val": None},
        **dict.fromkeys(("bad", "notes", "warnings", "copies", "repeated", "alike", "suspicious"), ()),
        **dict.fromkeys(("outliers", "label_errors", "problem")),
        "facts": {"train": TRAIN, "val": VAL},
        "counted": "images",
        "strict": False,
    }
    return DataCheck(**(values | changes))


def copies(told: str, *pairs: tuple[str, str]) -> Copies:
    return Copies(told, len(pairs), pairs)


def errors(number: int, agreement: float = 0.9) -> LabelErrors:
    """So many labels that are probably wrong, of 200."""
    found = tuple(LabelError(f"{i}.png", "cat", "dog", 0.01, 0.987) for i in range(number))
    return LabelErrors(200, number, found, agreement)


EVERYTHING: dict[str, Any] = {
    "notes": ("a note\n",),
    "repeated": (copies("2 images are there twice", ("r1", "r2")),),
    "alike": (copies("alike", ("l1", "l2")),),
    "outliers": Suspects("unlike their class", 3, ("o1",)),
    "warnings": ("a warning",),
    "suspicious": (Suspects("all of one colour", 2, ("s1", "s2")),),
    "label_errors": errors(1),
    "copies": (copies("in both", ("c1", "c2")),),
    "bad": (BadFile("b.png", "it is damaged", "Repair it."), BadFile("e.png", "it is empty")),
    "problem": "there is nothing to learn",
}


def test_findings_are_printed_from_facts_to_problems() -> None:
    assert str(check(**EVERYTHING)).splitlines() == [
        "train: 1,500 images, 9 x 8 to 40 x 30 pixels (median 20 x 10), 1,400 JPEG RGB, 100 PNG L",
        "val:   20 images",
        "",
        " class     train images   val images",
        " ───────────────────────────────────",
        " cat              1,000           15",
        " dog\\x1b            500            5",
        "",
        "a note\\n",
        "2 images are there twice",
        "alike",
        "3 images: unlike their class, such as o1",
        "warning: a warning",
        "warning: 2 images: all of one colour, such as s1",
        "warning: 1 of 200 labels is probably wrong, such as 0.png: `cat`, probably `dog`; 90% of the labels are what "
        "the models see",
        "",
        " image   label   probably   label   other",
        " ────────────────────────────────────────",
        " 0.png   cat     dog         1.0%   98.7%",
        "",
        "warning: in both",
        "bad:   b.png: it is damaged. Repair it.",
        "bad:   e.png: it is empty",
        "error: there is nothing to learn",
    ]


def test_of_many_bad_files_ten_are_printed() -> None:
    bad = tuple(BadFile(f"{i}", "no") for i in range(1012))
    printed = str(check(bad=bad)).splitlines()
    assert (printed[-2], printed[-1]) == ("bad:   9: no", "bad:   and 1,002 more, which --json names")
    assert str(check(bad=bad[:10])).splitlines()[-1] == "bad:   9: no"


def test_where_no_mask_could_be_read_there_is_no_table_of_classes() -> None:
    assert "class" not in str(check(facts={"train": SplitFacts(2, (0, 0), None, {})}))


@pytest.mark.parametrize(
    ("changes", "usable"),
    [
        ({}, True),
        ({"copies": EVERYTHING["copies"]}, True),
        ({"copies": EVERYTHING["copies"], "strict": True}, False),
        ({"strict": True}, True),
        ({"bad": EVERYTHING["bad"]}, False),
        ({"problem": "none"}, False),
    ],
)
def test_data_are_usable_without_bad_files_and_where_it_is_strict_without_copies(
    changes: dict[str, Any], usable: bool
) -> None:
    assert check(**changes).usable == usable


def test_copies_are_an_error_where_the_check_is_strict() -> None:
    assert "error: in both" in str(check(copies=EVERYTHING["copies"], strict=True))


def test_labels_that_cannot_be_judged_have_no_table() -> None:
    assert "probably" not in str(check(label_errors=errors(3, 0.49)))
    assert "3 of 200 labels are probably wrong" in str(check(label_errors=errors(3, 0.5)))
    assert "\nnone of 200 labels is probably wrong" in str(check(label_errors=errors(0)))


def test_a_row_for_each_split_has_its_sizes() -> None:
    assert check().records() == [
        {"split": "train", "samples": 1500, "smallest": (8, 9), "median": (10, 20), "largest": (30, 40)},
        {"split": "val", "samples": 20, "smallest": None, "median": None, "largest": None},
    ]
    assert check().to_dict()["facts"]["val"]["images"] == 20


def test_of_many_classes_the_largest_and_the_smallest_are_shown() -> None:
    assert shown_classes([5, 9, 7]) == ([0, 1, 2], 3)
    assert shown_classes([5, 9, 7, 7, 1], 4) == ([1, 2, 0, 4], 2)
    assert shown_classes(range(20)) == (list(range(20)), 20)
    shown, cut = shown_classes(range(21))
    assert (shown, cut) == ([*range(20, 10, -1), *range(9, -1, -1)], 10)


def test_classes_between_are_counted_and_pixels_have_shares() -> None:
    names, counts = [f"c{i}" for i in range(1025)], tuple(range(1025, 0, -1))
    text = table_text(class_table(names, {"train": SplitFacts(9, counts, None, {})}, "images"))
    assert re.search(r" c9 +1,016\n 1,005 classes between +…\n c1015 +10\n", text)
    pixels = table_text(class_table(("sky",), {"train": SplitFacts(9, (2000,), None, {})}, "pixels"))
    assert "2,000 (100 %)" in pixels
    pixels = table_text(class_table(("a", "b"), {"train": SplitFacts(9, (1, 7), None, {})}, "pixels"))
    assert "1 (12.5 %)" in pixels
    assert "0 (0 %)" in table_text(class_table(("a",), {"train": SplitFacts(9, (0,), None, {})}, "pixels"))


def test_ten_labels_that_are_probably_wrong_are_printed() -> None:
    assert len(label_table(errors(11).errors).rows) == 10


def text_of(html: str) -> str:
    return re.sub(r"<[^>]+>", "|", html.split("<main>")[1])


def test_a_page_shows_each_finding_with_its_pictures() -> None:
    names = ("r1", "r2", "l1", "l2", "o1", "s1", "s2", "c1", "c2", "0.png")
    pictures = {name: f"data:{name}" for name in names}
    found = check(**EVERYTHING)
    assert names_shown(found) == set(names)
    html = page("title", found, pictures, [Tile(np.zeros((4, 4, 3), np.uint8), "a caption")])
    assert sorted(re.findall(r'src="data:(\w[\w.]*)"', html)) == sorted(names)
    assert re.findall(r'<section id="([^"]+)"', html) == [
        "verdict", "splits", "classes", "notes", "files-that-cannot-be-used", "suspicious-files",
        "the-same-image-twice", "images-unlike-their-class", "labels-that-are-probably-wrong",
        "images-as-they-are-learned-from",
    ]  # fmt: skip
    assert '<p class="problem">there is nothing to learn</p><p class="problem">2 files cannot be used.</p>' in html
    assert "<ul><li>a warning</li><li>in both</li><li>2 images: all of one colour, such as s1</li><li>1 of 200" in html
    assert "<li>b.png: it is damaged. Repair it.</li>" in html
    assert "<h3>2: all of one colour</h3>" in html
    assert "cat, probably dog (99%): 0.png" in html
    assert '<td class="number">1,500</td><td class="number">9 x 8</td>' in html
    assert "<td>1,400 JPEG RGB, 100 PNG L</td>" in html
    assert 'style="width: 100.00%"' in html
    assert 'style="width: 50.00%"' in html
    assert "<figcaption>c1<br>c2</figcaption>" in html
    assert "<figcaption>a caption</figcaption>" in html


def test_data_in_which_nothing_is_wrong_are_said_to_be_so() -> None:
    html = page("title", check(), {}, [])
    assert "<p>Nothing is wrong, as far as this look goes.</p>" in html
    assert re.findall(r'<section id="([^"]+)"', html) == ["verdict", "splits", "classes"]
    assert names_shown(check()) == set()


def test_a_page_shows_so_many_of_each_kind() -> None:
    names = tuple(f"{i}" for i in range(99))
    pairs = tuple((f"p{i}", f"q{i}") for i in range(99))
    counts = tuple(range(70, 0, -1))
    found = check(
        classes=[f"c{i}" for i in range(70)],
        facts={"train": SplitFacts(9, counts, None, {})},
        notes=tuple(f"n{i}" for i in range(52)),
        suspicious=(Suspects("odd", 99, names),),
        copies=(Copies("twice", 99, pairs),),
        label_errors=errors(99),
    )
    assert len(names_shown(found)) == 24 + 24 + 24
    html = page("title", found, {}, [])
    assert html.count("<figcaption>") == 24 + 12 + 24
    assert "<li>n49</li><li>and 2 more</li></ul>" in html
    assert html.count('<div class="bar"') == 60
    assert '<tr><td colspan="9">10 classes between</td></tr><tr><th scope="row">c40</th>' in html


def test_a_picture_is_small() -> None:
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    picture = Image.open(BytesIO(b64decode(data_url(np.zeros((320, 640, 3), np.uint8)).partition(",")[2])))
    assert (picture.size, picture.format) == ((160, 80), "JPEG")


def test_pictures_of_images_of_one_name_have_numbers() -> None:
    taken: set[str] = set()
    assert [free_stem(name, taken) for name in ("a/x.png", "b/x.jpg", "x.gif", "-", "-")] == [
        "x", "x-2", "x-3", "stdin", "stdin-2",
    ]  # fmt: skip


def test_an_image_in_the_folder_for_its_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"a\.png lies in the folder for the masks: a mask may replace it"):
        refuse_inside(tmp_path, "a.png", tmp_path / "a.png", "mask")
    refuse_inside(tmp_path, "a.png", tmp_path / "below" / "a.png", "mask")
    refuse_inside(tmp_path / "none", "a.png", tmp_path / "none" / "a.png", "mask")
    refuse_inside(tmp_path, "a.png", b"bytes", "mask")
