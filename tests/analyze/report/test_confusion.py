from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
from PIL import Image

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
