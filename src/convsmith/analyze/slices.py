"""Parts of the images on which a model is worse than on the others, by more than chance explains. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.slice_factors import FEWEST, Factor
from convsmith.bundle.figures.certainty_intervals import mean_interval
from convsmith.bundle.figures.slices import Slice, Slices

_CHANCE = 0.05  # that any slice stands out where none is worse


def find_slices(
    figure: str, scores: NDArray[np.float64], classes: Mapping[str, NDArray[np.int64]], factors: Sequence[Factor]
) -> Slices:
    """Compare all slices: each class and each value of a factor with the whole, and both together with the class.

    A class and a value together are expected to have the figure of the class, less what the value costs other classes.

    Args:
        figure: the name of the mean of the scores.
        scores: how right the model is about each image, 0 to 1, [N].
        classes: the numbers of the images that truly have each class.
        factors: what else tells images apart.
    """
    whole = float(scores.mean())
    found: list[tuple[dict[str, str], NDArray[np.float64], float]] = []  # conditions, scores, what is expected
    for factor in factors:
        for value, numbers in _groups(factor.numbers):
            found.append(({factor.name: factor.values[value]}, scores[numbers], whole))
    for label, of_class in classes.items():
        if len(of_class) < FEWEST:
            continue
        own = float(scores[of_class].mean())
        found.append(({"class": label}, scores[of_class], whole))
        for factor in factors:
            costs = _costs_of_others(scores, of_class, factor)
            for value, places in _groups(factor.numbers[of_class]):
                if len(places) < len(of_class):
                    conditions = {"class": label, factor.name: factor.values[value]}
                    found.append((conditions, scores[of_class[places]], own - float(costs[value])))
    z = NormalDist().inv_cdf(1 - _CHANCE / 2 / max(len(found), 1))
    slices = []
    for conditions, values, expected in found:
        mean, high = float(values.mean()), mean_interval(values, z)[1]
        lower = max(mean, high) < expected  # an end may be rounded to just below a mean of 1
        made = Slice(conditions, len(values), mean, mean_interval(values), expected, lower)
        slices.append((not made.stands_out, high, made))
    slices.sort(key=lambda it: it[:2])
    edges = {factor.name: factor.edges for factor in factors if factor.edges}
    return Slices(figure, whole, edges, tuple(made for *_, made in slices))


def _costs_of_others(scores: NDArray[np.float64], of_class: NDArray[np.int64], factor: Factor) -> NDArray[np.float64]:
    """How much lower the images of other classes score that have each value; 0 where these are few, or not lower."""
    others = np.ones(len(scores), bool)
    others[of_class] = False
    if not others.any():
        return np.zeros(len(factor.values))
    there = others & (factor.numbers >= 0)
    numbers, kinds = factor.numbers[there], len(factor.values)
    counts, sums = np.bincount(numbers, minlength=kinds), np.bincount(numbers, scores[there], kinds)
    costs = scores[others].mean() - sums / np.maximum(counts, 1)
    return np.where(counts >= FEWEST, np.maximum(costs, 0.0), 0.0)


def _groups(values: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each value that enough images have, and the places of these; -1 stands for none."""
    order = np.argsort(values, kind="stable")
    kinds, starts, counts = np.unique(values[order], return_index=True, return_counts=True)
    for kind, start, count in zip(kinds.tolist(), starts.tolist(), counts.tolist(), strict=True):
        if kind >= 0 and count >= FEWEST:
            yield kind, order[start : start + count]
