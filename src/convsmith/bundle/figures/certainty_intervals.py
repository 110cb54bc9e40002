"""Intervals of figures: where they lie with 95 % certainty on other images of the kind. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from convsmith.randomness import Stream, counter_generator

Interval = tuple[float, float]

_Z = 1.959963984540054  # the normal distribution has 97.5 % below
# Student's distribution has 97.5 % below, for 1, 2, 3 ... 19 degrees of freedom.
_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093,
)  # fmt: skip
DRAWS, _MOST_PAIRS, _FEWEST = 1000, 1 << 25, 10

MOST_RANKED = 1 << 20
"""Pairs of image and class whose rankings an evaluation draws intervals of."""


def wilson(share: float, count: int, z: float = _Z) -> Interval:
    """The interval of a share of independent images (Wilson 1927).

    Args:
        share: 0 to 1.
        count: of all of them, at least 1.
        z: standard deviations of the normal distribution to each side; by default those of 95 %.
    """
    square = z * z / count
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(values: NDArray[np.float64], z: float = _Z) -> Interval:
    """The interval of a mean of independent values from 0 to 1, [N]: Wilson's where all are 0 or 1, else by the spread.

    Args:
        values: at least one.
        z: see `wilson`.
    """
    mean, count = float(values.mean()), len(values)
    if not ((values > 0) & (values < 1)).any():
        return wilson(mean, count, z)
    half = z * float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else 1.0
    return max(0.0, mean - half), min(1.0, mean + half)


def student(values: int) -> float:
    """The standard errors to each side of a mean of so many values that hold 95 %, by Student's distribution (1908).

    Args:
        values: two at least; of more than 20, what 20 have.
    """
    return _STUDENT[min(values - 1, len(_STUDENT)) - 1]


def bootstrap(
    figures_of: Callable[[NDArray[np.float64]], Mapping[str, float]], count: int, draws: int = DRAWS
) -> dict[str, Interval]:
    """The 95 % intervals of figures, by `drawn_figures`, whose arguments these are; of those that are ever measured."""
    drawn = drawn_figures(figures_of, count, draws)
    return {name: ends_of(values) for name, values in drawn.items() if np.isfinite(values).any()}


def draws_for(pairs: int, fewest: int = 100) -> int:
    """How often images are drawn where that goes through so many pairs of image and class each time."""
    return min(DRAWS, max(fewest, _MOST_PAIRS // max(pairs, 1)))


def drawn_figures(
    figures_of: Callable[[NDArray[np.float64]], Mapping[str, float]], count: int, draws: int = DRAWS
) -> dict[str, NDArray[np.float64]]:
    """Figures of as many images drawn with replacement, again and again (Efron 1979): [draws] of each.

    Which images are drawn is the same on every machine. Fewer than 10 images say nothing about others: no figures.

    Args:
        figures_of: gives the figures by name, from how often each image counts, [count].
        count: of the images.
        draws: how often they are drawn, `DRAWS` times at most.
    """
    if count < _FEWEST:
        return {}
    found = []
    for draw in range(min(draws, DRAWS)):
        drawn = counter_generator(Stream.BOOTSTRAP, draw).randint(0, count, count)
        found.append(figures_of(np.bincount(drawn, minlength=count).astype(np.float64)))
    return {name: np.array([figures[name] for figures in found]) for name in found[0]}


def ends_of(values: NDArray[np.float64]) -> Interval:
    """The percentiles that 95 % of the values lie between; those that are not numbers do not count."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
