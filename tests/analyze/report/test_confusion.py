from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from convsmith.analyze.report import confusion
from convsmith.analyze.report.confusion import beside_each_other, confused, most_confused, taken_for


def counts_of(pairs: dict[tuple[int, int], int], classes: int = 6) -> np.ndarray:
    counts = 10 * np.eye(classes, dtype=np.int64)
    for place, count in pairs.items():
        counts[place] = count
    return counts


def test_classes_that_are_taken_for_each_other_stand_beside_each_other() -> None:
    order = beside_each_other(counts_of({(0, 4): 9, (4, 2): 5, (1, 5): 7}))
    places = {k: place for place, k in enumerate(order)}
    assert sorted(order) == list(range(6))
    assert abs(places[0] - places[4]) == abs(places[4] - places[2]) == abs(places[1] - places[5]) == 1


def test_classes_that_are_never_confused_keep_their_order() -> None:
    assert beside_each_other(counts_of({})) == list(range(6))


def test_the_most_confused_pairs_are_those_with_most_images() -> None:
    assert most_confused(counts_of({(0, 4): 9, (4, 2): 5, (1, 5): 7}), 2) == [(0, 4), (1, 5)]
    assert most_confused(counts_of({}), 2) == []


def test_the_class_that_is_said_instead_is_named_with_its_share_of_the_true_class() -> None:
    assert taken_for(counts_of({(0, 4): 10}), "abcdef") == ["e (50.0 %)", *[""] * 5]


def test_few_classes_are_a_table_of_counts() -> None:
    page = confused(counts_of({(0, 4): 9}).tolist(), "abcdef", "images")
    assert "60 of 69 images are right" in page
    assert ">9</td>" in page
    assert "<img" not in page


def test_many_classes_are_a_picture_with_the_counts_that_are_not_zero_beside_it() -> None:
    counts = counts_of({(0, 40): 9, (7, 8): 4}, 50)
    page = confused(counts.tolist(), [f"<{k}>" for k in range(50)], "images")
    found = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert found is not None
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as picture:
        assert picture.size == (50, 50)
        assert np.count_nonzero(np.asarray(picture)[..., 3]) == 52
    sparse = re.search(r'<script type="application/json" id="counts">([^<]+)</script>', page)
    assert sparse is not None
    values = json.loads(sparse[1])
    assert sorted(values["counts"])[:2] == [4, 9]
    assert len(values["counts"]) == 52


def test_nothing_is_drawn_of_no_images() -> None:
    assert confused([[0, 0], [0, 0]], "ab", "images") == ""


def test_a_table_of_three_classes_to_the_letter() -> None:
    page = confused([[9, 0, 0], [0, 3, 1], [0, 2, 0]], ["a", "<b>", "c"], "images")
    assert page == (
        "<p>Rows are true classes, columns what was said: 12 of 15 images are right. Classes that are taken for each "
        "other stand beside each other.</p>\n"
        '<p class="quiet">Cells count images.</p>\n'
        '<div class="wide matrix" tabindex="0" role="region" aria-label="Confusion matrix"><table><thead><tr><td></td>'
        '<th scope="col" class="up"><span>&lt;b&gt;</span></th><th scope="col" class="up"><span>c</span></th>'
        '<th scope="col" class="up"><span>a</span></th></tr></thead><tbody>'
        '<tr><th scope="row">&lt;b&gt;</th><td class="right" style="--share: 39%">3</td>'
        '<td style="--share: 22%">1</td><td></td></tr>'
        '<tr><th scope="row">c</th><td style="--share: 45%">2</td><td class="right"></td><td></td></tr>'
        '<tr><th scope="row">a</th><td></td><td></td><td class="right" style="--share: 45%">9</td></tr>'
        "</tbody></table></div>\n"
        "<h3>Confused most</h3>\n"
        '<div class="wide " tabindex="0" role="region" aria-label="Pairs confused most"><table><thead><tr>'
        '<th scope="col">true</th><th scope="col">said instead</th><th scope="col" class="number">images</th>'
        '<th scope="col" class="number">of the true class</th></tr></thead><tbody>'
        '<tr><th scope="row">c</th><td>&lt;b&gt;</td><td class="number">2</td><td class="number">100.0 %</td></tr>'
        '<tr><th scope="row">&lt;b&gt;</th><td>c</td><td class="number">1</td><td class="number">25.0 %</td></tr>'
        "</tbody></table></div>\n"
    )


def test_large_counts_are_in_percent() -> None:
    assert ">9999</td>" in confused([[9999, 1], [0, 1]], "ab", "pixels")
    page = confused([[10_000, 2_500], [0, 1]], "ab", "pixels")
    assert "Cells count the percent of the pixels of the true class." in page
    assert ">80.0</td>" in page
    assert ">20.0</td>" in page


@pytest.mark.parametrize(("classes", "drawn"), [(24, "<table>"), (25, "<img")])
def test_up_to_24_classes_are_a_table(classes: int, drawn: str) -> None:
    assert drawn in confused(np.eye(classes, dtype=int).tolist(), list(map(str, range(classes))), "images")


def test_up_to_thirty_pairs_are_named() -> None:
    counts = counts_of({(0, k): k for k in range(1, 40)}, 40)
    page = confused(counts.tolist(), list(map(str, range(40))), "images")
    assert page.partition("Confused most")[2].count('<th scope="row">') == 30


def test_the_chain_grows_at_the_end_that_is_confused_more() -> None:
    counts = counts_of({(0, 1): 9, (1, 2): 5, (0, 3): 6, (3, 4): 1, (2, 5): 2})
    assert beside_each_other(counts) == [4, 3, 0, 1, 2, 5]
    assert beside_each_other(np.array([[3]])) == [0]
    assert beside_each_other(np.array([[3, 0], [1, 0]])) == [0, 1]


def test_the_picture_is_the_more_opaque_the_more_of_the_class() -> None:
    counts = np.eye(25, dtype=np.int64)
    counts[0, 1] = 3
    page = confused(counts.tolist(), list(map(str, range(25))), "images")
    found = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert found is not None
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as picture:
        pixels = np.asarray(picture.convert("RGBA"))
    assert pixels[0, 0].tolist() == [47, 109, 179, 105 + 75]
    assert pixels[0, 1].tolist() == [200, 84, 27, int(105 + 150 * 0.75**0.5)]
    assert pixels[1, 0].tolist() == [0, 0, 0, 0]
    assert pixels[2, 2].tolist() == [47, 109, 179, 255]


def test_the_classes_with_the_most_errors_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confusion, "_PIXELS", 25)
    counts = np.eye(26, dtype=np.int64)
    labels = [f"c{k}" for k in range(26)]
    assert "the picture shows" not in confused(counts[:25, :25].tolist(), labels[:25], "images")
    counts[20, 3] = counts[25, 4] = 1
    page = confused(counts.tolist(), labels, "images")
    assert "<p>Of 26 classes the picture shows the 25 with the most errors.</p>" in page
    sparse = re.search(r'<script type="application/json" id="counts">([^<]+)</script>', page)
    assert sparse is not None
    shown = json.loads(sparse[1])["labels"]
    assert len(shown) == 25
    assert {"c20", "c25"} <= set(shown)
