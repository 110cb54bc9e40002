"""The calibration of a bundle: how its logits are scaled, and what is decided by the probabilities that this gives.

Temperature scaling multiplies all logits by one number, vector scaling those of each class by an own one and adds
another (Guo et al. 2017, arXiv:1706.04599). Sets of classes are those of split conformal prediction: all whose
probability reaches a threshold, which is the classes' own where images suffice (least ambiguous sets, Sadinle et al.
2019, arXiv:1609.00451). Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from convsmith.spec import Count, Fraction, Positive, Section

_LARGEST = 1e6  # of factors and summands: a logit stays finite
Number = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Sets(Section):
    """The sets of classes that hold the true one with a stated probability."""

    coverage: Share = Field(description="How many of 1 true classes the sets hold, at least.")
    thresholds: Annotated[tuple[Fraction, ...], Field(min_length=1)] = Field(
        description="The probability of each class from which on it is in a set."
    )
    shared: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="Numbers of the classes that have one threshold together, for want of images."
    )


class Unknown(Section):
    """When an answer is that the class is unknown."""

    threshold: Fraction = Field(description="Below this highest probability it is unknown.")
    precision: Share | None = Field(None, description="How many of 1 other answers are right, as asked for.")
    cost_wrong: Positive | None = Field(None, description="What a wrong answer costs, as asked for.")
    cost_unknown: Positive | None = Field(None, description="What an unknown one costs, as asked for.")


class Calibration(Section):
    """How logits become probabilities that are as right as they say, and what is decided by them."""

    weights: Annotated[tuple[Number, ...], Field(min_length=1)] = Field(
        description="What logits are multiplied with: one number, which is 1 / temperature, or one for each class."
    )
    bias: tuple[Number, ...] | None = Field(None, description="What is added to each class's logit; null: nothing.")
    sets: Sets | None = None
    unknown: Unknown | None = None
    images: dict[str, Count] = Field(description="How many images each part of the work had.")
    measured: dict[str, Any] = Field(description="Figures of the images that were kept back.")

    def scaled(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        """Logits [..., K] times `weights`, plus `bias`; in float64, so that no two become equal."""
        product: NDArray[np.float64] = logits * np.asarray(self.weights, np.float64)
        return product if self.bias is None else product + np.asarray(self.bias)

    def columns(self) -> tuple[str, ...]:
        """Names of that which answers have besides."""
        return (*(["set"] if self.sets else []), *(["unknown"] if self.unknown else []))

    def check(self, num_classes: int) -> None:
        """Raise a ValueError unless all is there of each of so many classes."""
        for name, values in (
            ("weights", self.weights if len(self.weights) > 1 else None),
            ("summands", self.bias),
            ("thresholds of sets", self.sets.thresholds if self.sets else None),
        ):
            if values is not None and len(values) != num_classes:
                raise ValueError(f"there are {len(values)} {name} for {num_classes} labels")
        if self.sets and any(number >= num_classes for number in self.sets.shared):
            raise ValueError(f"a set's threshold is shared by a class beyond the {num_classes} labels")


def scaled(logits: NDArray[Any], calibration: Calibration | None) -> NDArray[Any]:
    """Logits [..., K] as the bundle means them."""
    return logits if calibration is None else calibration.scaled(logits)


def in_set(probabilities: NDArray[np.float64], thresholds: Sequence[float]) -> NDArray[np.bool_]:
    """Which classes [..., K] are in the sets."""
    there: NDArray[np.bool_] = probabilities >= np.asarray(thresholds, np.float64)
    return there
