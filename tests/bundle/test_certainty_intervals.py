"""Intervals of figures, against scipy's distributions and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from convsmith.bundle.figures.certainty_intervals import (
    bootstrap,
    drawn_figures,
    draws_for,
    ends_of,
    mean_interval,
    student,
    wilson,
)

pytestmark = pytest.mark.usefixtures("all_draws")


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (1, 1), (3, 7), (50, 100), (0, 40), (40, 40), (999, 1000)])
def test_the_interval_of_a_share_is_scipys(hits: int, count: int) -> None:
    expected = stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson(hits / count, count) == pytest.approx((expected.low, expected.high), abs=1e-9)
    expected = stats.binomtest(hits, count).proportion_ci(2 * stats.norm.cdf(3) - 1, method="wilson")
    assert wilson(hits / count, count, z=3) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_of_a_mean_is_normal_or_of_a_share() -> None:
    values = np.array([0.0, 0.25, 0.5, 0.5, 1.0])
    half = 2 * values.std(ddof=1) / math.sqrt(5)
    assert mean_interval(values, z=2) == pytest.approx((0.45 - half, 0.45 + half))
    assert mean_interval(np.array([0.0, 1.0, 1.0])) == wilson(2 / 3, 3)
    assert mean_interval(np.array([0.5])) == (0, 1)
    assert mean_interval(np.array([0.5, 0.5])) == (0.5, 0.5)
    assert mean_interval(np.array([0.01, 0.9]), z=3) == (0, 1)


@pytest.mark.parametrize("values", range(2, 21))
def test_a_mean_of_few_has_students_width(values: int) -> None:
    assert student(values) == pytest.approx(stats.t.ppf(0.975, values - 1), abs=5e-4)


def test_a_mean_of_more_has_the_width_of_twenty() -> None:
    assert student(21) == student(1000) == student(20)


@pytest.mark.parametrize(("pairs", "draws"), [(0, 1000), (2**15, 1000), (2**17, 256), (2**20, 100), (2**40, 100)])
def test_the_more_pairs_the_fewer_draws_but_a_hundred(pairs: int, draws: int) -> None:
    assert draws_for(pairs) == draws


def test_images_are_drawn_with_replacement_the_same_each_time() -> None:
    drawn = []

    def figures(weights: np.ndarray) -> dict[str, float]:
        drawn.append(weights.tolist())
        return {"first": weights[0], "never": math.nan}

    found = drawn_figures(figures, 10, draws=30)
    assert [sum(weights) for weights in drawn] == [10] * 30
    assert len(set(map(tuple, drawn))) == 30
    assert found["first"].tolist() == [weights[0] for weights in drawn]
    assert np.array_equal(drawn_figures(figures, 10, draws=30)["first"], found["first"])
    assert bootstrap(figures, 10, draws=30).keys() == {"first"}
    assert drawn_figures(figures, 9) == {}


def test_the_ends_hold_95_of_100_values() -> None:
    assert ends_of(np.array([*range(1001), math.nan])) == (25, 975)
