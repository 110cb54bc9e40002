"""A number for each optimizer step of a run, worked out when it is asked for: of millions only the rule is kept."""

from __future__ import annotations

import json
import operator
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from pydantic import TypeAdapter

from convsmith.recipe.optimization import Schedule
from convsmith.recipe.schedules import (
    epochs_of,
    half_cosine,
    learning_rate,
    learning_rates,
    total_epochs,
    warmup_steps,
)

LISTED = 100_000
"""Steps up to which a file lists the numbers; of more it has what they are worked out of."""


class ByStep(Sequence[float]):
    """A number for each step; equal to any sequence of the same numbers."""

    @abstractmethod
    def at(self, step: int) -> float:
        """The number of a step, from 0 on."""

    @overload
    def __getitem__(self, place: int) -> float: ...
    @overload
    def __getitem__(self, place: slice) -> list[float]: ...
    def __getitem__(self, place: int | slice) -> float | list[float]:
        """The number of one step, or a list of several."""
        steps = range(len(self))[place]
        return self.at(steps) if isinstance(steps, int) else [*map(self.at, steps)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class LearningRates(ByStep):
    """The learning rate of each step, see `learning_rate`.

    Attributes:
        schedule: the recipe's schedule.
        base_lr: the rate after warmup.
        steps_per_epoch: optimizer steps in an epoch.
        extra_steps: optimizer steps in an epoch of the extra phase; None: as many as in the others.
    """

    schedule: Schedule
    base_lr: float
    steps_per_epoch: int
    extra_steps: int | None = None

    def __post_init__(self) -> None:
        warmup_steps(self.schedule, self.steps_per_epoch)  # an error of it is one of the plan, not of some step

    def __len__(self) -> int:
        epochs = epochs_of(self.schedule, self.steps_per_epoch, self.extra_steps)
        return epochs.total_steps(total_epochs(self.schedule))

    def __iter__(self) -> Iterator[float]:
        return iter(learning_rates(self.schedule, self.base_lr, self.steps_per_epoch, self.extra_steps))

    def at(self, step: int) -> float:
        """The number of a step, from 0 on."""
        return learning_rate(self.schedule, self.base_lr, self.steps_per_epoch, step, self.extra_steps)


@dataclass(frozen=True, eq=False)
class WeightDecays(ByStep):
    """The weight decay of each step: half a cosine that would come to `end` after the last one, as in ConvNeXt."""

    start: float
    end: float
    steps: int

    def __len__(self) -> int:
        return self.steps

    def at(self, step: int) -> float:
        """The number of a step, from 0 on."""
        return half_cosine(self.start, self.end, step / self.steps)


_RULES: dict[str, TypeAdapter[Any]] = {"lr": TypeAdapter(LearningRates), "weight_decay": TypeAdapter(WeightDecays)}


def for_file(key: str, numbers: Sequence[float] | None) -> Any:
    """The numbers of a plan's key as JSON values: a list, or the rule of more than `LISTED`."""
    if isinstance(numbers, ByStep) and len(numbers) > LISTED:
        return _RULES[key].dump_python(numbers, mode="json")
    return None if numbers is None else [*numbers]


def of_file(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a plan from a file, with all numbers in lists."""
    rules = {key: rule for key, rule in _RULES.items() if isinstance(values.get(key), dict)}
    return values | {key: [*rule.validate_json(json.dumps(values[key]))] for key, rule in rules.items()}
