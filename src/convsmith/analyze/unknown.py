"""The probability below which it is better to say that a class is unknown. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.calibration import Unknown
from convsmith.errors import ConvsmithError, counted

CERTAINTY = 0.95
"""The share of draws of images whose threshold keeps the precision that it says."""

_FIRST, _OTHERS = 0.8, 4  # the share of the allowed error that the first start has, and how many have the rest
_TRIED = 200  # thresholds
_USUAL = (0.99, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)  # precisions that may be asked for in place of others


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


def fewest_answers(precision: float) -> int:
    """The fewest answers that show a precision with that certainty, where all of them are right."""
    return math.ceil(math.log(_FIRST * (1 - CERTAINTY)) / math.log(precision))


def by_precision(confidence: NDArray[np.float64], right: NDArray[np.bool_], precision: float) -> Unknown:
    """The lowest threshold found with which these images show that of others a share `precision` of answers is right.

    With 95 % certainty: of 100 draws of images, 95 give a threshold that keeps what it says. Thresholds are tested by
    the binomial distribution of wrong answers, each from one start on down as long as they hold, as in "learn then
    test" (Angelopoulos et al. 2021, arXiv:2110.01052, fixed sequences): answers are right the less often the less
    probable they are, so the first threshold that does not keep it ends the way but for an error of the allowed chance.
    The first start is where the probabilities themselves promise it most; for what is left of that chance there are
    four more, spread evenly.

    Args:
        confidence: the highest probability of each image, [N].
        right: whether it is that of the true class, [N].
        precision: between 0 and 1.

    Raises:
        ConvsmithError: there is none.
    """
    order, images = np.argsort(-confidence, kind="stable"), len(confidence)
    ranked, wrong = confidence[order], (~right[order]).cumsum()
    answered = _answered(ranked, wrong, precision)
    if answered is None:
        less = next((it for it in _USUAL if it < precision and _answered(ranked, wrong, it) is not None), None)
        raise ConvsmithError(
            f"no threshold gives answers of which {precision:g} are right",
            f"the {counted(images, 'image')} that set thresholds do not show it of any with {CERTAINTY:.0%} certainty; "
            f"of all their answers {images - int(wrong[-1])} are right",
            f"Ask for less precision{'' if less is None else f', such as {less:g}'}, or give more images.",
        )
    return Unknown(threshold=float(ranked[answered - 1]), precision=precision)


def _answered(ranked: NDArray[np.float64], wrong: NDArray[np.int64], precision: float) -> int | None:
    """How many of the answers show the precision, from the surest on; None where none do.

    Args:
        ranked: probabilities, the highest first, [N].
        wrong: how many of so many answers are wrong, [N].
        precision: between 0 and 1.
    """
    images = len(ranked)
    fewest = min(fewest_answers(precision), images)
    tried = np.linspace(fewest, images, min(_TRIED, images - fewest + 1)).astype(np.int64)
    counts = np.unique(np.searchsorted(-ranked, -ranked[tried - 1], side="right"))  # of one probability all or none
    promised = np.ceil((1 - ranked).cumsum()).astype(np.int64)
    promises, chances = (_chances_of(it[counts - 1], counts, 1 - precision) for it in (promised, wrong))
    others = np.linspace(0, len(counts) - 1, _OTHERS).astype(np.int64).tolist()
    starts = [(int(promises.argmin()), _FIRST), *((it, (1 - _FIRST) / _OTHERS) for it in others)]
    lowest = max(_last_below(chances, start, share * (1 - CERTAINTY)) for start, share in starts)
    return int(counts[lowest]) if lowest >= 0 else None


def _last_below(chances: NDArray[np.float64], start: int, most: float) -> int:
    """The last place from `start` on before the first where a chance is above `most`; -1 if that is the start."""
    above = np.flatnonzero(chances[start:] > most)
    count = int(above[0]) if len(above) else len(chances) - start
    return start + count - 1 if count else -1


def _chances_of(wrong: NDArray[np.int64], answered: NDArray[np.int64], share: float) -> NDArray[np.float64]:
    """How probable at most so many wrong answers of so many are, where each is wrong with a probability of `share`."""
    return np.array([_chance_of(*counts, share) for counts in zip(wrong.tolist(), answered.tolist(), strict=True)])


def _chance_of(wrong: int, answered: int, share: float) -> float:
    counts = np.arange(wrong + 1)
    # ratios of one term of the binomial distribution to the one before it
    steps = np.log(answered - counts[1:] + 1) - np.log(counts[1:]) + math.log(share) - math.log1p(-share)
    logs = answered * math.log1p(-share) + np.concatenate([[0.0], steps.cumsum()])
    return float(np.exp(logs).sum())
