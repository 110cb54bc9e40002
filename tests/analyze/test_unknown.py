"""The probability below which a class is unknown."""

from __future__ import annotations

import numpy as np
import pytest

from convsmith.analyze.unknown import Costs, by_costs, by_precision
from convsmith.errors import ConvsmithError


def test_costs_have_the_threshold_at_which_both_answers_cost_the_same() -> None:
    costs = Costs(wrong=5, unknown=1)
    threshold = by_costs(costs).threshold
    assert (1 - threshold) * costs.wrong == pytest.approx(costs.unknown)


@pytest.mark.parametrize(("wrong", "unknown"), [(1, 1), (1, 2), (1, 0), (0, 0), (-1, -2), (float("nan"), 1)])
def test_costs_that_decide_nothing_are_an_error(wrong: float, unknown: float) -> None:
    with pytest.raises(ConvsmithError, match="decide nothing"):
        by_costs(Costs(wrong, unknown))


def test_the_threshold_is_the_lowest_at_which_answers_are_as_precise_with_one_wrong_more() -> None:
    confidence = np.linspace(1, 0, 101)
    right = np.ones(101, np.bool_)
    right[[40, 60, 62, 64]] = False
    for precision in (0.9, 0.95, 0.97):
        threshold = by_precision(confidence, right, precision).threshold
        counts = [(right[confidence >= t].sum() / ((confidence >= t).sum() + 1), t) for t in confidence]
        assert threshold == min(t for share, t in counts if share >= precision)


def test_images_of_the_same_probability_are_all_answered_or_none() -> None:
    confidence, right = np.array([0.9] * 20 + [0.8] * 20), np.array([True] * 20 + [True, False] * 10)
    assert by_precision(confidence, right, 0.9).threshold == 0.9


def test_a_precision_that_none_reaches_is_an_error_that_says_how_far_it_comes() -> None:
    confidence, right = np.linspace(0.5, 1, 10), np.ones(10, np.bool_)
    with pytest.raises(ConvsmithError, match="10 of 10 answers are right"):
        by_precision(confidence, right, 0.99)


def test_the_precision_holds_on_other_images() -> None:
    reached = []
    for seed in range(40):
        random = np.random.RandomState(seed)
        confidence = random.uniform(0.4, 1, 2000)
        right = random.random_sample(2000) < confidence
        threshold = by_precision(confidence[:1000], right[:1000], 0.9).threshold
        answered = confidence[1000:] >= threshold
        reached.append(right[1000:][answered].mean())
        assert answered.mean() > 0.1
    assert np.mean(reached) >= 0.89
