"""Which of two validations is the better one."""

from __future__ import annotations

import pytest

from convsmith.recipe.better import gain, is_better


def test_the_loss_gains_where_it_falls_and_any_other_figure_where_it_rises() -> None:
    assert (gain("loss", 1.0, 3.0), gain("loss", 3.0, 1.0)) == (2.0, -2.0)
    assert (gain("top1", 1.0, 3.0), gain("top1", 3.0, 1.0)) == (-2.0, 2.0)


@pytest.mark.parametrize(
    ("new", "old", "by", "expected"),
    [
        ((0.75, 2.0), (0.5, 1.0), 0.0, True),
        ((0.5, 0.5), (0.75, 1.0), 0.0, False),
        ((0.5, 0.75), (0.5, 1.0), 0.0, True),
        ((0.5, 1.0), (0.5, 1.0), 0.0, False),
        ((0.5, 1.25), (0.5, 1.0), 0.0, False),
        ((0.75, 1.0), (0.5, 1.0), 0.25, False),
        ((0.875, 1.0), (0.5, 1.0), 0.25, True),
        ((1.5, 0.5), (0.5, 1.0), 1.0, False),
    ],
)
def test_a_figure_is_better_by_more_than_asked_and_of_equals_that_of_the_lower_loss(
    new: tuple[float, float], old: tuple[float, float], by: float, expected: bool
) -> None:
    figures = [dict(zip(("top1", "loss"), pair, strict=True)) for pair in (new, old)]
    assert is_better("top1", figures[0], figures[1], by) is expected


def test_equals_without_a_loss_are_not_better() -> None:
    assert not is_better("top1", {"top1": 0.5}, {"top1": 0.5, "loss": 1.0})
    assert not is_better("top1", {"top1": 0.5, "loss": 0.5}, {"top1": 0.5})
