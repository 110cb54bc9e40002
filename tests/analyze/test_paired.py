"""Paired tests of two models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest  # type: ignore[import-untyped]

from convsmith.analyze.paired import Weigher, mcnemar, paired_bootstrap


def share_of(right: NDArray[np.bool_]) -> Weigher:
    """The share of images that are right."""
    return lambda weights: {"top1": float(weights @ right / weights.sum())}


@given(st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=50)
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int) -> None:
    count = only_first + only_second
    expected = binomtest(only_first, count, 0.5).pvalue if count else 1.0
    assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_takes_as_many_images_as_there_are() -> None:
    assert mcnemar(24_800, 25_200) == pytest.approx(binomtest(24_800, 50_000, 0.5).pvalue, rel=1e-7)


def test_models_that_say_the_same_are_not_apart() -> None:
    right = np.arange(50) % 2 == 0
    gap = paired_bootstrap(share_of(right), share_of(right), 50, 200)["top1"]
    assert gap == (0.0, (0.0, 0.0), 1.0)


def test_a_model_that_is_better_on_most_images_is_surely_better() -> None:
    first, second = np.arange(100) < 50, np.arange(100) < 90
    gap = paired_bootstrap(share_of(first), share_of(second), 100, 200)["top1"]
    assert gap.difference == pytest.approx(0.4)
    assert gap.interval is not None
    assert 0.25 < gap.interval[0] < 0.4 < gap.interval[1] < 0.55
    assert gap.p is not None
    assert gap.p < 0.02


@pytest.mark.usefixtures("all_draws")
def test_the_interval_is_of_pairs_and_so_narrower_than_of_two_samples() -> None:
    hard = np.arange(100) < 50  # both fail there, but for some
    second = hard & (np.arange(100) > 5)
    gap = paired_bootstrap(share_of(hard), share_of(second), 100, 500)["top1"]
    assert gap.interval is not None
    assert gap.interval[1] - gap.interval[0] < 0.12


def test_too_few_images_tell_nothing() -> None:
    gap = paired_bootstrap(lambda w: {"top1": float(w.sum())}, lambda w: {"top1": 0.0}, 9, 100)["top1"]
    assert (gap.interval, gap.p) == (None, None)


def test_a_figure_that_one_model_lacks_has_no_gap() -> None:
    assert paired_bootstrap(lambda _: {"auroc": float("nan")}, lambda _: {"auroc": 0.5}, 20, 10) == {}
