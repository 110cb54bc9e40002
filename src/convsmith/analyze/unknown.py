"""The probability below which it is better to say that a class is unknown. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.calibration import Unknown
from convsmith.errors import ConvsmithError


@dataclass(frozen=True)
class Costs:
    """Costs of answers; a right one costs nothing.

    Attributes:
        wrong: a wrong one.
        unknown: one that the class is unknown.
    """

    wrong: float
    unknown: float


def by_costs(costs: Costs) -> Unknown:
    """Answer where that costs less on average than not to: from the probability 1 - unknown / wrong on (Chow 1970).

    Raises:
        ConvsmithError: a cost is not above 0, or not knowing costs as much as being wrong.
    """
    if not 0 < costs.unknown < costs.wrong:
        raise ConvsmithError(
            f"`unknown` that costs {costs.unknown:g} and a wrong answer that costs {costs.wrong:g} decide nothing",
            "both must be above 0, and a wrong answer must cost more: else `unknown` would never be said",
            "Choose other costs, such as --cost-wrong 5 --cost-unknown 1.",
        )
    threshold = 1 - costs.unknown / costs.wrong
    return Unknown(threshold=threshold, cost_wrong=costs.wrong, cost_unknown=costs.unknown)


def by_precision(confidence: NDArray[np.float64], right: NDArray[np.bool_], precision: float) -> Unknown:
    """The lowest threshold with which a share `precision` of the answers is right, were one wrong answer added.

    Args:
        confidence: the highest probability of each image, [N].
        right: whether it is that of the true class, [N].
        precision: between 0 and 1.

    Raises:
        ConvsmithError: there is none.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked, answered = confidence[order], np.arange(1, len(order) + 1)
    reached = right[order].cumsum() / (answered + 1)
    reached[:-1][ranked[1:] == ranked[:-1]] = 0  # a threshold takes all images of one probability or none
    good = np.flatnonzero(reached >= precision)
    if not len(good):
        best = int(reached.argmax())
        raise ConvsmithError(
            f"no threshold gives answers of which {precision:g} are right",
            f"with the best one, {int(right[order][: best + 1].sum())} of {best + 1} answers are right, of "
            f"{len(order)} images that set thresholds; as many are needed as make up for one wrong answer more",
            "Ask for less precision, or give more images.",
        )
    return Unknown(threshold=float(ranked[good[-1]]), precision=precision)
