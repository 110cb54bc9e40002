"""Which of two validations is the better one: the same for the best epoch, early stopping and whoever compares runs."""

from __future__ import annotations

from collections.abc import Mapping

LOSS = "loss"
"""The only figure of a validation that is better where it is lower."""


def gain(metric: str, new: float, old: float) -> float:
    """How much better the new figure is than the old one, in the metric's unit; negative where it is worse."""
    return old - new if metric == LOSS else new - old


def is_better(metric: str, new: Mapping[str, float], old: Mapping[str, float], by: float = 0.0) -> bool:
    """Whether the new figures gain more than `by` on the old ones; with 0, of equals those of the lower loss do."""
    gained = gain(metric, new[metric], old[metric])
    if gained == by == 0 and LOSS in new and LOSS in old:
        return new[LOSS] < old[LOSS]
    return gained > by
