"""The learning rate of a step: pure functions, so that any step of a run can be computed, printed and tested."""

from __future__ import annotations

import math

from convsmith.recipe.optimization import Schedule


def warmup_steps(schedule: Schedule, steps_per_epoch: int) -> int:
    """W, the number of steps below the base learning rate. At least one step of the run has the base rate."""
    return min(round(schedule.warmup_epochs * steps_per_epoch), schedule.epochs * steps_per_epoch - 1)


def learning_rate(schedule: Schedule, base_lr: float, steps_per_epoch: int, step: int) -> float:
    """The learning rate of one optimizer step.

    With T = epochs x steps_per_epoch steps, W of them warmup, step k has

        warmup_lr + (base_lr - warmup_lr) k / W                              for k < W,
        min_lr + (base_lr - min_lr) (1 + cos(pi (k - W) / (T - W))) / 2      for W <= k < T:

    exactly base_lr at step W, and min_lr would be reached at step T. The half cosine is that of SGDR without
    restarts (Loshchilov and Hutter 2017, equation 5).

    Args:
        schedule: the recipe's schedule.
        base_lr: the learning rate after warmup.
        steps_per_epoch: optimizer steps in an epoch, at least 1.
        step: k, from 0 to T - 1.

    Raises:
        ValueError: the run has no such step.
    """
    total = schedule.epochs * steps_per_epoch
    if not 0 <= step < total:
        raise ValueError(f"the run has steps 0 to {total - 1}, not {step}")
    warmup = warmup_steps(schedule, steps_per_epoch)
    if step < warmup:
        return _between(schedule.warmup_lr, base_lr, step / warmup)
    return _between(schedule.min_lr, base_lr, (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2)


def learning_rates(schedule: Schedule, base_lr: float, steps_per_epoch: int) -> list[float]:
    """The learning rate of every optimizer step of the run, in order."""
    steps = range(schedule.epochs * steps_per_epoch)
    return [learning_rate(schedule, base_lr, steps_per_epoch, step) for step in steps]


def _between(low: float, high: float, share: float) -> float:
    """`low` at share 0 and `high` at share 1, exactly."""
    return low * (1 - share) + high * share
