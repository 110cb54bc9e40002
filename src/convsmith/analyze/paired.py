"""Two models on the same images: whether their figures differ by more than chance. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.figures.certainty_intervals import Interval, drawn_figures, ends_of

Weigher = Callable[[NDArray[np.float64]], Mapping[str, float]]
"""From how often each image counts, [N], to figures by name."""


class Gap(NamedTuple):
    """How far a figure of the second model is above that of the first.

    Attributes:
        difference: on these images.
        interval: where it lies with 95 % certainty on others of the kind; None where too few images tell it.
        p: how probable a difference as large is, either way, where there is none; None likewise.
    """

    difference: float
    interval: Interval | None
    p: float | None


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p of McNemar's test (1947), as `scipy.stats.binomtest(only_first, n, 0.5)` has it.

    Args:
        only_first: images that the first model alone has right.
        only_second: those that the second one alone has right.
    """
    count, fewer = only_first + only_second, min(only_first, only_second)
    if 2 * fewer >= count:
        return 1.0
    most = math.lgamma(count + 1) - count * math.log(2)
    tail = math.fsum(math.exp(most - math.lgamma(i + 1) - math.lgamma(count - i + 1)) for i in range(fewer + 1))
    return min(1.0, 2 * tail)


def paired_bootstrap(first: Weigher, second: Weigher, count: int, draws: int) -> dict[str, Gap]:
    """The gap of each figure that both models have, measured on the same drawn images (Efron and Tibshirani 1993).

    Args:
        first, second: give the figures of each model.
        count: of the images, in the same order for both.
        draws: how often they are drawn.
    """

    def apart(weights: NDArray[np.float64]) -> dict[str, float]:
        ours, theirs = first(weights), second(weights)
        return {name: theirs[name] - value for name, value in ours.items() if name in theirs}

    found, drawn = apart(np.ones(count)), drawn_figures(apart, count, draws)
    return {
        name: Gap(value, ends_of(drawn[name]), _p(drawn[name])) if name in drawn else Gap(value, None, None)
        for name, value in found.items()
        if math.isfinite(value)
    }


def _p(differences: NDArray[np.float64]) -> float:
    known = differences[np.isfinite(differences)]
    below, above = ((int(sign.sum()) + 1) / (len(known) + 1) for sign in (known <= 0, known >= 0))
    return min(1.0, 2 * min(below, above))
