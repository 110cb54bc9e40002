"""Pairs of images that are nearly the same, and images far from their class, by numbers alone."""

from __future__ import annotations

import numpy as np
import pytest

from convsmith.data.checks import near
from convsmith.data.checks.kinds import count_kinds, kind_name, kind_number
from convsmith.data.checks.near import EMBEDDINGS, PRINTS, Images, Kind, Nearest, Rule, find_near
from convsmith.data.checks.outliers import distances_to_class, find_outliers


def test_the_rules_for_prints_and_for_embeddings() -> None:
    assert (Rule(0.95, 2, 12), Rule(0.96, -1, 10)) == (PRINTS, EMBEDDINGS)
    assert [(kind.name, int(kind)) for kind in Kind] == [("LEAKED", 0), ("UNLIKE", 1), ("REPEATED", 2)]


def test_the_nearest_of_each_is_kept_and_of_equals_the_first() -> None:
    found = Nearest.of_none(4)
    assert found.partners.tolist() == [[-1] * 4] * 3
    pairs = np.array([0, 0, 1]), np.array([3, 2, 2])
    found.take(Kind.LEAKED, *pairs, np.array([2, 2, 1], np.uint8))
    assert found.partners[Kind.LEAKED].tolist() == [2, 2, 1, 0]
    assert found.differ[Kind.LEAKED].tolist() == [2, 1, 1, 2]
    found.take(Kind.LEAKED, np.array([0]), np.array([1]), np.array([1], np.uint8))
    assert found.partners[Kind.LEAKED].tolist() == [1, 2, 1, 0]  # 1 knows one that is as near
    assert found.pairs(Kind.LEAKED).tolist() == [[1, 0], [2, 1], [3, 0]]
    assert found.pairs(Kind.UNLIKE).tolist() == []
    assert "differ" not in repr(found)


def test_the_members_of_a_group_are_near_to_its_first_and_to_what_that_is_near_to() -> None:
    found = Nearest.of_none(4)
    found.take(Kind.UNLIKE, np.array([0]), np.array([3]), np.array([1], np.uint8))
    found.spread(np.array([0, 0, 0, 3]), np.array([0, 1, 2, 3]))
    assert found.partners.tolist() == [[-1] * 4, [3, 3, 3, 0], [-1, 0, 0, -1]]


def images(hashes: list[int], features: list[list[float]], **more: list[int]) -> Images:
    count = len(hashes)
    usual = {"judged": [0] * count, "targets": [0] * count, "contents": list(range(count)), "mirrored": []}
    of = {**usual, **more}
    return Images(
        np.array(hashes, np.uint64), np.array(features), np.array(of["judged"], bool), np.array(of["targets"]),
        np.array(of["contents"], np.uint64), np.array(of["mirrored"], np.uint64),
    )  # fmt: skip


ALIKE, OTHER = [1.0, 2, 3, 4], [4.0, 1, 3, 1]


@pytest.mark.parametrize(
    ("bits", "features", "is_near"),
    [
        (0b11, OTHER, True),
        (0b111, OTHER, False),
        (0b111, ALIKE, True),
        (2**12 - 1, ALIKE, True),
        (2**13 - 1, ALIKE, False),
    ],
)
def test_hashes_in_few_bits_or_in_more_with_features_alike_are_near(
    bits: int, features: list[float], is_near: bool
) -> None:
    base = 0xF0F0F0F0F0F00000
    found = find_near(images([base, base ^ bits], [ALIKE, features]))
    assert found.partners[Kind.REPEATED].tolist() == ([1, 0] if is_near else [-1, -1])


def test_what_two_images_are_to_each_other_goes_by_split_class_and_bytes() -> None:
    hashes, same = [7, 7 ^ 1], [ALIKE, ALIKE]
    kinds = [Kind.LEAKED, Kind.UNLIKE, Kind.REPEATED]
    for more, expected in (
        ({}, [False, False, True]),
        ({"judged": [0, 1]}, [True, False, False]),
        ({"targets": [0, 1]}, [False, True, False]),
        ({"judged": [0, 1], "targets": [0, 1]}, [True, True, False]),
        ({"judged": [0, 1], "contents": [5, 5]}, [False, False, False]),
        ({"contents": [5, 5]}, [False, False, True]),
    ):
        found = find_near(images(hashes, same, **more))
        assert [bool(len(found.pairs(kind))) for kind in kinds] == expected
    assert not len(find_near(images([0, 0], same)).pairs(Kind.REPEATED))  # no hashes


def test_the_correlation_is_the_same_in_parts_and_leaves_brightness_and_contrast_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(0)
    features = draw.random((7, 5))
    first, second = np.array([0, 1, 2, 3, 4]), np.array([1, 2, 3, 4, 5])
    expected = [np.corrcoef(features[i], features[k])[0, 1] for i, k in zip(first, second, strict=True)]
    monkeypatch.setattr(near, "_AT_ONCE", 2)
    np.testing.assert_allclose(near._correlation(features, first, second, turned=False), expected, atol=1e-5)
    np.testing.assert_allclose(
        near._correlation(np.stack([features[0], 9 - 3 * features[0]]), np.array([0]), np.array([1]), turned=False),
        [-1],
        atol=1e-5,
    )
    assert near._correlation(np.ones((2, 3)), np.array([0]), np.array([1]), turned=False).tolist() == [0]


def test_a_kind_of_file_is_a_number_of_a_byte() -> None:
    for image_format, mode, name in (
        ("JPEG", "RGB", "JPEG RGB"),
        ("PNG", "I;16", "PNG I;16"),
        ("XCF", "RGB", "another format RGB"),
        ("PNG", "HSV", "PNG another mode"),
        ("NPY", "float32", "NPY float32"),
    ):
        assert 0 <= kind_number(image_format, mode) < 256
        assert kind_name(kind_number(image_format, mode)) == name
    numbers = [kind_number("PNG", "L")] * 2 + [kind_number("JPEG", "RGB")] * 3
    assert list(count_kinds(np.array(numbers, np.uint8)).items()) == [("JPEG RGB", 3), ("PNG L", 2)]
    assert count_kinds(np.empty(0, np.uint8)) == {}


def test_the_distance_to_a_class_is_the_mean_to_the_five_nearest_others_of_it() -> None:
    places = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100.0])
    classes = np.array([0] * 11 + [1])
    found = distances_to_class(places[:, None], classes)
    assert found[0] == pytest.approx((1 + 2 + 3 + 4 + 5) / 5)
    assert found[5] == pytest.approx((1 + 1 + 2 + 2 + 3) / 5)
    assert np.isnan(found[11])
    assert np.isnan(distances_to_class(places[:10, None], classes[:10])).all()  # ten are too few


def test_images_far_above_what_is_usual_in_their_class_are_outliers_the_farthest_first() -> None:
    usual = [-1.0] * 10 + [0] * 5 + [1] * 10  # of the logarithm: the median deviation is 1
    logarithms = np.array([*usual, 5.9, 6.0, 6.5, np.nan])  # four times 1.4826 is 5.93
    distances, classes = np.exp(logarithms).astype(np.float32), np.zeros(29, np.int64)
    assert find_outliers(distances, classes).tolist() == [27, 26]
    both = find_outliers(np.concatenate([distances, distances]), np.repeat([0, 1], 29))
    assert sorted(both.tolist()) == [26, 27, 26 + 29, 27 + 29]
    assert find_outliers(distances[:25], classes[:25]).tolist() == []
    assert find_outliers(np.full(3, np.nan, np.float32), np.arange(3)).tolist() == []
