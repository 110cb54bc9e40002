"""Intervals of figures: where they lie with 95 % certainty on other images of the kind. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from convsmith.randomness import Stream, counter_generator

Interval = tuple[float, float]

_Z = 1.959963984540054  # the normal distribution has 97.5 % below
_DRAWS, _FEWEST = 1000, 10


def wilson(share: float, count: int) -> Interval:
    """The interval of a share of independent images (Wilson 1927); `count` is of all of them, at least 1."""
    square = _Z * _Z / count
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(
    figures_of: Callable[[NDArray[np.float64]], Mapping[str, float]], count: int, draws: int = _DRAWS
) -> dict[str, Interval]:
    """The intervals of figures, by drawing as many images with replacement again and again (Efron 1979; percentiles).

    Which images are drawn is the same on every machine. Fewer than 10 images say nothing about others: no intervals.

    Args:
        figures_of: gives the figures by name, from how often each image counts, [count].
        count: of the images.
        draws: how often they are drawn.
    """
    if count < _FEWEST:
        return {}
    found = []
    for draw in range(draws):
        drawn = counter_generator(Stream.BOOTSTRAP, draw).randint(0, count, count)
        found.append(figures_of(np.bincount(drawn, minlength=count).astype(np.float64)))
    columns = {name: [figures[name] for figures in found] for name in found[0]}
    ends = {name: np.nanpercentile(values, [2.5, 97.5]) for name, values in columns.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}
