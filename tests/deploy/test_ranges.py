"""The rules that choose ranges, beside the same in plain loops; and intervals, beside the jackknife by hand."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.bundle.figures.certainty_intervals import student
from convsmith.bundle.figures.segmentation_metrics import SegmentationResults
from convsmith.bundle.task import Results
from convsmith.deploy import calibration
from convsmith.deploy.calibration import _divergence, _least_entropy, _least_error, _percentile
from convsmith.deploy.certainty import drop_interval, is_chance

BINS = 512
SHARES = [round(0.3 + 0.01 * step, 2) for step in range(71)]


@pytest.fixture(autouse=True)
def fewer_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert calibration._BINS == 2048
    monkeypatch.setattr(calibration, "_BINS", BINS)


def centres(low: float, high: float) -> list[float]:
    return [low + (i + 0.5) * (high - low) / BINS for i in range(BINS)]


def draws(seed: int, low: float, high: float) -> NDArray[np.int64]:
    """A histogram of numbers near 0, of which few lie far out."""
    draw = np.random.default_rng(seed)
    values = np.concatenate([draw.normal(0.1, 0.2, 2000), draw.uniform(low, high, 9)])
    return np.histogram(values.clip(low, high), BINS, (low, high))[0].astype(np.int64)


CASES = [(0, -1.0, 3.0), (1, -2.0, 1.0), (2, 0.0, 1.5)]


@pytest.mark.parametrize(("seed", "low", "high"), CASES)
def test_the_least_error_is_that_of_rounding_and_clipping_each_value(seed: int, low: float, high: float) -> None:
    histogram = draws(seed, low, high)

    def error(share: float) -> float:
        step = share * (high - low) / 255
        beyond = (max(low * share - it, it - high * share, 0.0) ** 2 for it in centres(low, high))
        counts: list[int] = histogram.tolist()
        return sum(count * (square + step**2 / 12) for count, square in zip(counts, beyond, strict=True))

    best = min(reversed(SHARES), key=error)
    assert best < 1
    assert _least_error(histogram, low, high) == pytest.approx((low * best, high * best), abs=1e-9)


def divergence(histogram: list[int], low: float, high: float, share: float) -> float:
    """KL(P || Q) as Migacz has it, loop by loop."""
    inside = [i for i, it in enumerate(centres(low, high)) if low * share <= it <= high * share]
    inner = [float(histogram[i]) for i in inside]
    clipped = list(inner)
    clipped[0] += sum(histogram[: inside[0]])
    clipped[-1] += sum(histogram[inside[-1] + 1 :])
    levels: dict[int, list[int]] = {}
    for i in range(len(inner)):
        levels.setdefault(i * 256 // len(inner), []).append(i)
    spread = [0.0] * len(inner)
    for members in levels.values():
        used = [i for i in members if inner[i] > 0]
        for i in used:
            spread[i] = sum(inner[k] for k in members) / len(used)
    p, q = ([it / sum(values) for it in values] for values in (clipped, spread))
    return sum(a * math.log(a / max(b, 1e-12)) for a, b in zip(p, q, strict=True) if a > 0)


@pytest.mark.parametrize(("seed", "low", "high"), CASES)
def test_the_least_entropy_is_that_of_the_levels_that_are_left(seed: int, low: float, high: float) -> None:
    histogram = draws(seed, low, high)
    for share in (0.3, 0.55, 1.0):
        found = _divergence(histogram.astype(float), np.array(centres(low, high)), low * share, high * share)
        assert found == pytest.approx(divergence(histogram.tolist(), low, high, share), rel=1e-9)
    best = min(reversed(SHARES), key=lambda share: divergence(histogram.tolist(), low, high, share))
    assert _least_entropy(histogram, low, high) == pytest.approx((low * best, high * best), abs=1e-9)


def test_where_nothing_was_counted_the_range_stays() -> None:
    assert _least_entropy(np.zeros(BINS, np.int64), -1.0, 3.0) == (-1.0, 3.0)


def test_a_percentile_leaves_out_a_twenty_thousandth_at_each_end() -> None:
    histogram = np.zeros(BINS, np.int64)
    histogram[[0, 150, 400, 511]] = 4, 49_996, 49_996, 4
    width = 4 / BINS
    assert _percentile(histogram, -1.0, 3.0) == pytest.approx((min(-1 + 150 * width, 0.0), -1 + 401 * width))
    histogram[[0, 50, 150]] = 4, 9_996, 40_000
    assert _percentile(histogram, -1.0, 3.0) == pytest.approx((-1 + 50 * width, -1 + 401 * width))
    histogram[[0, 511]] = 6
    assert _percentile(histogram, -1.0, 3.0) == pytest.approx((-1.0, 3.0))


def masks(*wrong: int) -> list[Results]:
    """Answers of a group of ten pixels each, of which so many are wrong."""
    groups: list[Results] = []
    for number in wrong:
        truth = np.arange(10, dtype=np.uint8).reshape(1, 10) % 2
        said = truth.copy()
        said[0, :number] = 1 - said[0, :number]
        results = SegmentationResults(2)
        results.update(said, truth)
        groups.append(results)
    return groups


def test_the_interval_of_a_drop_is_that_of_the_jackknife() -> None:
    exact, other = [1, 0, 2, 0], [3, 2, 2, 1]
    lost = [b - a for a, b in zip(exact, other, strict=True)]
    drop = 100 * sum(lost) / 40
    without = [100 * (sum(lost) - it) / 30 for it in lost]
    half = student(4) * math.sqrt(3 / 4 * sum((it - fmean(without)) ** 2 for it in without))
    assert drop_interval("pixel_accuracy", masks(*exact), masks(*other), 4) == pytest.approx((drop - half, drop + half))


def test_a_score_of_chance_is_at_most_two_standard_errors_above_it() -> None:
    assert is_chance(0.6, 0.5, 100)  # the standard error is 0.05
    assert not is_chance(0.6001, 0.5, 100)
    assert is_chance(0.2 + 2 * 0.04, 0.2, 100)
    assert not is_chance(0.2 + 2 * 0.0401, 0.2, 100)
