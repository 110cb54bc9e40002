"""What the charts of an evaluation draw, counted image by image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.bundle.figures.chart import Chart
from convsmith.bundle.figures.result_charts import answered, distribution, reliability, thresholds

RANDOM = np.random.RandomState(0)
SURE = np.concatenate([RANDOM.random_sample(40) * 0.7 + 0.2, [0.25, 0.5, 0.5, 0.75]])
TRUE = RANDOM.random_sample(44) < SURE
EDGES = np.linspace(0, 1, 101)


def share(hits: NDArray[np.bool_], taken: NDArray[np.bool_]) -> float:
    return float((hits & taken).sum() / taken.sum())


def lines(chart: Chart) -> dict[str, dict[float, float]]:
    return {name: dict(zip(*line, strict=True)) for name, line in chart.lines.items()}


def test_reliability_is_the_share_that_is_right_in_each_bin() -> None:
    chart = reliability(SURE, TRUE, "images")
    places = np.floor(SURE * 15).astype(int)
    expected = {SURE[places == k].mean(): TRUE[places == k].mean() for k in np.unique(places)}
    assert list(chart.lines["right"][0]) == pytest.approx(list(expected))
    assert list(chart.lines["right"][1]) == pytest.approx(list(expected.values()))
    middles, heights = chart.bars["share of images"]
    assert middles == pytest.approx([(k + 0.5) / 15 for k in range(15)])
    assert heights == pytest.approx([(places == k).mean() for k in range(15)])
    assert (chart.diagonal, chart.fractions, chart.log) == (True, True, False)


def test_a_threshold_leaves_those_that_reach_it() -> None:
    chart = answered(SURE, TRUE)
    expected = {
        "answered": {edge: float((edge <= SURE).mean()) for edge in EDGES},
        "right of those answered": {edge: share(TRUE, edge <= SURE) for edge in EDGES if (edge <= SURE).any()},
    }
    assert {name: pytest.approx(line) for name, line in lines(chart).items()} == expected
    assert (chart.diagonal, chart.fractions, chart.log) == (False, True, False)


def test_precision_and_recall_are_of_what_reaches_a_threshold() -> None:
    chart = thresholds(SURE, TRUE)
    precision = {edge: share(TRUE, edge <= SURE) for edge in EDGES if (edge <= SURE).any()}
    recall = {edge: share(edge <= SURE, TRUE) for edge in EDGES}
    f1 = {edge: 2 * (TRUE & (edge <= SURE)).sum() / ((edge <= SURE).sum() + TRUE.sum()) for edge in EDGES}
    expected = {"precision": precision, "recall": recall, "F1": f1}
    assert {name: pytest.approx(line) for name, line in lines(chart).items()} == expected
    assert chart.fractions


def test_without_images_nothing_is_divided_by_0() -> None:
    nothing = np.zeros(0)
    assert set(reliability(nothing, nothing, "images").bars["share of images"][1]) == {0}
    assert set(lines(answered(nothing, nothing))["answered"].values()) == {0}
    assert lines(thresholds(np.array([0.5]), np.array([False])))["recall"][0] == 0


def test_a_distribution_has_twenty_bars() -> None:
    middles, counts = distribution(np.array([0, 0.04, 0.05, 0.96, 1.0]), "title", "across").bars["images"]
    assert middles == pytest.approx([0.025 + 0.05 * k for k in range(20)])
    assert counts == (2, 1, *[0] * 17, 2)
