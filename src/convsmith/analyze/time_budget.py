"""A recipe that ends within a time: epochs first, then a faster one, then a share of the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.errors import ConvsmithError, counted

AIM, LATEST = 0.94, 1.0  # shares of the time: where the training is to end, and where it may for one more epoch
ENOUGH = 5  # epochs; with fewer, a faster recipe learns more from each image
_VALIDATING = 0.25  # of the time that the steps of an epoch take, for a validation


@dataclass(frozen=True)
class Pace:
    """How long the parts of a training take; seconds.

    Attributes:
        step: one optimizer step.
        steps: of an epoch.
        validation: of all validation images; 0 without validation.
        checkpoint: writing one.
        fixed: all that comes once: loading, checks and packing.
        usual: epochs of the recipe.
        eval_every: epochs from one validation to the next.
        extra: epochs of an extra phase, which are not changed.
    """

    step: float
    steps: int
    validation: float
    checkpoint: float
    fixed: float
    usual: int
    eval_every: int = 1
    extra: int = 0

    @property
    def steps_of_epoch(self) -> float:
        """Seconds of the steps of an epoch."""
        return self.step * self.steps

    def seconds(self, epochs: float, eval_every: int) -> float:
        """A training of so many epochs, from its begin to its bundle."""
        every = epochs + self.extra
        validations = math.ceil(every / eval_every) * self.validation
        return self.fixed + every * (self.steps_of_epoch + self.checkpoint) + validations


@dataclass(frozen=True)
class Fit:
    """A training that ends within a time.

    Attributes:
        pace: the number of the chosen recipe, of those given.
        epochs: how many fit.
        fraction: share of the training images that are used.
        eval_every: epochs from one validation to the next.
        seconds: how long it will take.
    """

    pace: int
    epochs: int
    fraction: float
    eval_every: int
    seconds: float


def fit(paces: Sequence[Pace], seconds: float) -> Fit:
    """The first recipe of which enough epochs fit, and how many; of the last one as much as fits.

    Args:
        paces: of the recipes, the best one first.
        seconds: the time.

    Raises:
        ConvsmithError: not one validation fits; it says how much time would do.
    """
    for number, pace in enumerate(paces):
        if enough(pace, seconds):
            return _whole(number, pace, seconds)
    return _share(len(paces) - 1, paces[-1], seconds)


def enough(pace: Pace, seconds: float) -> bool:
    """Whether as many epochs fit as are worth the recipe."""
    return _whole(0, pace, seconds).epochs >= min(ENOUGH, pace.usual)


def _whole(number: int, pace: Pace, seconds: float) -> Fit:
    """The most epochs that fit, 0 and more, judged as often as is cheap."""
    rare = max(pace.eval_every, math.ceil(pace.validation / (_VALIDATING * pace.steps_of_epoch)))
    every = max(pace.eval_every, min(rare, int(_epochs(pace, rare, seconds)) // ENOUGH))
    while every < ENOUGH and _epochs(pace, every, seconds) < ENOUGH:
        every += 1
    epochs = int(_epochs(pace, every, seconds))
    if pace.seconds(epochs + 1, every) <= LATEST * seconds:
        epochs += 1
    while epochs and pace.seconds(epochs, every) > LATEST * seconds:
        epochs -= 1
    return Fit(number, epochs, 1.0, every, pace.seconds(epochs, every))


def _epochs(pace: Pace, eval_every: int, seconds: float) -> float:
    """How many fit, whole or not, where validations are spread evenly."""
    each = pace.steps_of_epoch + pace.checkpoint + pace.validation / eval_every
    return max(0.0, (AIM * seconds - pace.fixed) / each - pace.extra)


def _share(number: int, pace: Pace, seconds: float) -> Fit:
    """Few epochs of the images that there is time for."""
    once = AIM * seconds - pace.fixed - pace.validation
    fitting = once / (pace.steps_of_epoch + pace.checkpoint) - pace.extra
    for epochs in range(max(1, math.ceil(fitting)), 0, -1):
        all_of_it = pace.seconds(epochs, epochs + pace.extra)
        fraction = min(1.0, 1 - (all_of_it - AIM * seconds) / (epochs * pace.steps_of_epoch))
        if fraction * pace.steps >= 1:
            took = all_of_it - (1 - fraction) * epochs * pace.steps_of_epoch
            return Fit(number, epochs, float(f"{fraction:.3g}"), epochs + pace.extra, took)
    least = pace.seconds(1, 1 + pace.extra) - pace.steps_of_epoch + pace.step
    raise ConvsmithError(
        f"{_said(seconds)} are not enough for these data on this machine",
        f"checks, one validation and packing alone take about {_said(least)}",
        f"Give --minutes {math.ceil(2 * least / 60)} or more.",
    )


def _said(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else counted(round(seconds), "second")
