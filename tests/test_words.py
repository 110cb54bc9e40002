"""Words for figures."""

from __future__ import annotations

import pytest

from convsmith.words import metric_name, points_between, points_lost


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        (0.84, "0.84 points lost"),
        (-0.84, "0.84 points gained"),
        (0.0, "0.00 points lost"),
        (-0.001, "0.00 points lost"),
        (-0.006, "0.01 points gained"),
        (100.0, "100.00 points lost"),
    ],
)
def test_a_gain_is_not_called_a_loss(drop: float, words: str) -> None:
    assert points_lost(drop) == words


def test_an_interval_says_on_which_side_of_zero_it_ends() -> None:
    assert points_between((-0.12, 0.31)) == " (95 %: 0.12 gained to 0.31 lost)"
    assert points_between(None) == ""


@pytest.mark.parametrize(
    ("metric", "name"), [("top1", "top-1"), ("miou", "mIoU"), ("balanced_accuracy", "balanced accuracy")]
)
def test_a_metric_has_a_name_for_people(metric: str, name: str) -> None:
    assert metric_name(metric) == name
