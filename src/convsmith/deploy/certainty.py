"""How much the figures of some images say of others: the interval of a drop, and what chance alone would score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from convsmith.bundle.figures.certainty_intervals import Interval, student
from convsmith.bundle.task import Results

GROUPS = 20  # of images, each of which is left out once


def drop_interval(metric: str, exact: Sequence[Results], other: Sequence[Results], images: int) -> Interval | None:
    """Where the drop, in points, lies with 95 % certainty on other images of the kind; None where that is not known.

    By the jackknife over groups of images (Efron and Stein 1981). A classifier whose answers are the same for all of n
    images may still change 3 of n others (the rule of three), so its interval is never narrower than that.

    Args:
        metric: that is compared, a fraction.
        exact: answers of the float model, a group of images each.
        other: those of the other model, in the same groups.
        images: how many there are.
    """
    count = len(exact)
    if count < 2:
        return None
    drop = _drop(metric, exact, other)
    without = [_drop(metric, _all_but(exact, i), _all_but(other, i)) for i in range(count)]
    spread = math.sqrt((count - 1) / count * float(np.square(np.subtract(without, np.mean(without))).sum()))
    half = spread * student(count)
    if exact[0].one_answer_each:
        half = max(half, min(300 / images, 100))
    return (drop - half, drop + half) if math.isfinite(half + drop) else None


def merged(groups: Sequence[Results]) -> Results:
    """All answers of some groups together; there must be one group at least."""
    total = groups[0].empty()
    for group in groups:
        total.merge(group)
    return total


def score_of_chance(metric: str, results: Results, num_classes: int) -> float:
    """The score of a model that names the most frequent class of these images, or pixels, whatever it sees."""
    return results.chance(num_classes)[metric]


def is_chance(score: float, chance: float, images: int) -> bool:
    """Whether a score is within two standard errors of what chance has, or below."""
    return score <= chance + 2 * math.sqrt(chance * (1 - chance) / images)


def _drop(metric: str, exact: Sequence[Results], other: Sequence[Results]) -> float:
    return 100 * (merged(exact).compute()[metric] - merged(other).compute()[metric])


def _all_but(groups: Sequence[Results], left_out: int) -> list[Results]:
    return [group for number, group in enumerate(groups) if number != left_out]
