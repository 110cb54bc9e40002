"""Values that tell images apart, and their bins."""

from __future__ import annotations

import numpy as np
import pytest

from convsmith.analyze.image_facts import ImageFacts
from convsmith.analyze.slice_factors import (
    Factor,
    _binned,
    _words,
    column_factor,
    folder_factors,
    look_factors,
    without_those_of_classes,
)


@pytest.mark.parametrize(
    ("count", "quantiles"),
    [
        (39, None),
        (40, [0, 0.5, 1]),
        (99, [0, 0.25, 0.5, 0.75, 1]),
        (100, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (399, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (400, [0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1]),
    ],
)
def test_bins_have_twenty_images_at_least(count: int, quantiles: list[float] | None) -> None:
    values = np.random.RandomState(0).permutation(count).astype(float) / 2
    found = _binned("it", values)
    if quantiles is None:
        assert found is None
        return
    assert found is not None
    assert found.edges == pytest.approx(np.quantile(values, quantiles))
    assert len(found.values) == len(quantiles) - 1
    assert found.numbers.tolist() == [int(sum(value >= edge for edge in found.edges[1:-1])) for value in values]


def test_what_is_not_a_number_is_in_no_bin() -> None:
    values = np.array([*range(40), np.nan, np.inf])
    found = _binned("it", values)
    assert found is not None
    assert found.values == ("0.0 to 19.5", "19.5 to 39.0")
    assert found.numbers.tolist() == [0] * 20 + [1] * 20 + [-1, -1]
    assert _binned("it", np.array([np.nan])) is None
    assert _binned("it", np.ones(100)) is None
    assert _binned("it", np.array([0.0] * 99 + [1.0])) is None


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([0, 1000, 20000], ["0", "1,000", "20,000"]),
        ([0, 0.5, 1], ["0.0", "0.5", "1.0"]),
        ([0.01, 0.04, 0.05], ["0.01", "0.04", "0.05"]),
        ([0.00001, 0.00002], ["0.00001", "0.00002"]),
        ([0.0000001, 0.0000002], ["0.000000", "0.000000"]),
    ],
)
def test_edges_have_the_digits_that_tell_them_apart(edges: list[float], words: list[str]) -> None:
    assert list(_words(edges)) == words


def test_folders_are_told_apart_below_what_all_have_in_common() -> None:
    found = folder_factors(["a/x/1/p.png", "a/x/2/p.png", "a/y/p.png", "a/y/1/2/3/4/p.png"])
    assert [(it.name, it.values, it.numbers.tolist()) for it in found] == [
        ("folder", ("x", "y"), [0, 0, 1, 1]),
        ("folder", ("*/1", "*/2"), [0, 1, -1, 0]),
        ("folder", ("*/*/2",), [-1, -1, -1, 0]),
        ("folder", ("*/*/*/3",), [-1, -1, -1, 0]),
    ]
    assert folder_factors(["a/p.png", "a/q.png"]) == []
    assert [it.values for it in folder_factors(["p.png", "a/q.png"])] == [("a",)]


def test_columns_are_values_or_bins_of_many_numbers() -> None:
    few = column_factor("lens", ["b", None, "a", ""])
    assert few is not None
    assert (few.values, few.numbers.tolist(), few.edges) == (("a", "b"), [1, -1, 0, -1], ())
    assert column_factor("lens", ["a", "a"]) is None
    assert column_factor("lens", [None, ""]) is None
    ten = column_factor("hour", [str(k % 10) for k in range(100)])
    assert ten is not None
    assert (ten.values, ten.edges) == (tuple("0123456789"), ())
    eleven = column_factor("hour", [*(str(k % 11) for k in range(110)), None])
    assert eleven is not None
    assert eleven.edges[0] == 0
    assert eleven.edges[-1] == 10
    assert eleven.numbers[-1] == -1
    mixed = column_factor("hour", [*(str(k % 11) for k in range(110)), "noon"])
    assert mixed is not None
    assert len(mixed.values) == 12


def test_images_are_told_apart_by_their_look() -> None:
    facts = [ImageFacts(width=10 + k, height=2, brightness=k / 2, sharpness=1.0) for k in range(40)]
    assert [(it.name, it.edges) for it in look_factors(facts)] == [
        ("pixels", (20.0, 59.0, 98.0)),
        ("brightness", (0.0, 9.75, 19.5)),
    ]


def test_what_says_the_class_once_more_is_left_out() -> None:
    classes = [np.array([0, 1]), np.array([2]), np.array([], np.int64)]
    same = Factor("folder", ("a", "b"), np.array([0, 0, 1]))
    other = Factor("folder", ("a", "b"), np.array([0, 1, 1]))
    shared = Factor("folder", ("a",), np.array([0, 0, 0]))
    binned = Factor("hour", ("a", "b"), np.array([0, 0, 1]), (0.0, 1.0))
    assert without_those_of_classes([same, other, shared, binned], classes) == [other, shared, binned]
