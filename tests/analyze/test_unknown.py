"""The probability below which a class is unknown."""

from __future__ import annotations

import numpy as np
import pytest

from convsmith.analyze.unknown import Costs, _chance_of, by_costs, by_precision, fewest_answers
from convsmith.errors import ConvsmithError

DRAWS = 100


def test_costs_have_the_threshold_at_which_both_answers_cost_the_same() -> None:
    costs = Costs(wrong=5, unknown=1)
    threshold = by_costs(costs).threshold
    assert (1 - threshold) * costs.wrong == pytest.approx(costs.unknown)


@pytest.mark.parametrize(("wrong", "unknown"), [(1, 1), (1, 2), (1, 0), (0, 0), (-1, -2), (float("nan"), 1)])
def test_costs_that_decide_nothing_are_an_error(wrong: float, unknown: float) -> None:
    with pytest.raises(ConvsmithError, match="decide nothing"):
        by_costs(Costs(wrong, unknown))


@pytest.mark.parametrize(("precision", "fewest"), [(0.9, 31), (0.95, 63), (0.99, 321)])
def test_the_fewest_answers_show_the_precision_where_all_are_right(precision: float, fewest: int) -> None:
    assert fewest_answers(precision) == fewest
    confidence, right = np.linspace(0.5, 1, fewest), np.ones(fewest, np.bool_)
    assert by_precision(confidence, right, precision).threshold == 0.5
    with pytest.raises(ConvsmithError, match=f"the {fewest - 1} images .* do not show it"):
        by_precision(confidence[1:], right[1:], precision)


def test_the_lowest_threshold_that_the_images_show_is_found() -> None:
    """Wrong answers are as rare as they must be above one half only: the threshold is a little higher."""
    confidence = np.linspace(1, 0, 4001)
    right = np.ones(4001, np.bool_)
    right[20:2000:40] = False  # 2.5 %
    right[2000::4] = False
    threshold = by_precision(confidence, right, 0.95).threshold
    assert 0.4 < threshold < 0.5
    answered = confidence >= threshold
    assert right[answered].mean() > 0.95


def test_a_wrong_answer_among_the_surest_does_not_end_the_search() -> None:
    confidence, right = np.linspace(1, 0.5, 2000), np.ones(2000, np.bool_)
    right[:3] = False
    assert by_precision(confidence, right, 0.99).threshold == 0.5


def test_images_of_the_same_probability_are_all_answered_or_none() -> None:
    confidence, right = np.array([0.9] * 60 + [0.8] * 20), np.array([True] * 60 + [True, False] * 10)
    assert by_precision(confidence, right, 0.9).threshold == 0.9


def test_a_precision_that_is_not_shown_is_an_error_that_names_one_that_is() -> None:
    confidence, right = np.linspace(0.5, 1, 40), np.ones(40, np.bool_)
    right[:4] = False
    with pytest.raises(ConvsmithError, match="of all their answers 36 are right") as told:
        by_precision(confidence, right, 0.99)
    assert told.value.fix == "Ask for less precision, such as 0.9, or give more images."
    assert by_precision(confidence, right, 0.9).threshold > 0.5


@pytest.mark.parametrize(("images", "precision"), [(60, 0.85), (300, 0.9), (1000, 0.9)])
def test_the_precision_holds_for_95_of_100_draws_of_images(images: int, precision: float) -> None:
    """Answers are right as often as their probability says, so what a threshold gives on all others is known."""
    broken = 0
    for seed in range(DRAWS):
        random = np.random.RandomState(seed)
        confidence = random.uniform(0.6, 1, images)
        right = random.random_sample(images) < confidence
        try:
            threshold = by_precision(confidence, right, precision).threshold
        except ConvsmithError:  # says nothing, so it promises nothing
            continue
        broken += (threshold + 1) / 2 < precision
    assert broken <= 0.05 * DRAWS


def test_the_precision_holds_too_where_probabilities_promise_too_much() -> None:
    """Half of what is wrong is said to be right: the start is too low, but further ones find a threshold."""
    broken = found = 0
    for seed in range(DRAWS):
        random = np.random.RandomState(seed)
        confidence = random.uniform(0.6, 1, 1000)
        right = random.random_sample(1000) < 1 - 2 * (1 - confidence)
        try:
            threshold = by_precision(confidence, right, 0.9).threshold
        except ConvsmithError:
            continue
        found += 1
        broken += threshold < 0.9
    assert found > 0.2 * DRAWS
    assert broken <= 0.05 * DRAWS


def test_with_many_images_the_threshold_is_nearly_the_best_one() -> None:
    """That one is 0.8, where half of the images are answered."""
    random = np.random.RandomState(0)
    confidence = random.uniform(0.6, 1, 50000)
    right = random.random_sample(50000) < confidence
    assert 0.8 < by_precision(confidence, right, 0.9).threshold < 0.82


def test_chances_are_those_of_the_binomial_distribution() -> None:
    binomial = pytest.importorskip("scipy.stats").binom
    for wrong, answered, share in ((0, 299, 0.01), (7, 7, 0.2), (40, 1000, 0.05), (900, 9000, 0.1)):
        assert _chance_of(wrong, answered, share) == pytest.approx(binomial.cdf(wrong, answered, share), rel=1e-9)
