"""The learning rate of a step: pure functions, so that any step of a run can be computed, printed and tested."""

from __future__ import annotations

import math

from convsmith.errors import ConvsmithError
from convsmith.recipe.epochs import Epochs
from convsmith.recipe.optimization import Constant, Cosine, Exponential, MultiStep, OneCycle, Poly, Schedule, Step


def total_epochs(schedule: Schedule) -> int:
    """Passes over the training data, those of an extra phase counted."""
    return schedule.epochs + (0 if isinstance(schedule, OneCycle) or not schedule.extra else schedule.extra.epochs)


def warmup_steps(schedule: Schedule, steps_per_epoch: int) -> int:
    """W, the number of steps of the warmup. At least one step of the run has the base rate.

    Raises:
        ConvsmithError: `warmup_steps` asks for more.
    """
    if isinstance(schedule, OneCycle):
        return 0
    total = schedule.epochs * steps_per_epoch
    reaches = schedule.warmup == "linear" and schedule.warmup_reaches_lr == "at_last_step"
    most = total - (0 if reaches else 1)
    if schedule.warmup_steps is None:
        return min(round(schedule.warmup_epochs * steps_per_epoch), most)
    if schedule.warmup_steps > most:
        raise ConvsmithError(
            f"schedule.warmup_steps is {schedule.warmup_steps} of {total} steps",
            "the warmup would never end",
            f"Set {most} or less, or schedule.warmup_epochs instead.",
        )
    return schedule.warmup_steps


def learning_rate(
    schedule: Schedule, base_lr: float, steps_per_epoch: int, step: int, extra_steps: int | None = None
) -> float:
    """The learning rate of one optimizer step.

    With T = epochs x steps_per_epoch steps, W of them warmup, the rate of step k < W is

        warmup_lr + (base_lr - warmup_lr) k / W      linear; (W - 1) below the bar for `at_last_step`
        warmup_lr                                    constant

    and that of step k >= W, with p = (k - W) / (T - W) and n steps in an epoch,

        min_lr + (base_lr - min_lr) (1 + cos(pi p)) / 2             cosine
        min_lr + (base_lr - min_lr) (1 - p) ^ power                 poly
        base_lr gamma ^ floor((k - W) / round(n every_epochs))      step
        base_lr gamma ^ (number of milestones m, round(n m) <= k)   multi_step
        base_lr gamma ^ ((k - W) / n)                               exponential
        base_lr                                                     constant

    `by: epoch` takes the first step of the epoch for k, `shift` the step after or before. An extra phase repeats the
    formulas from its own lr, with W = 0 and its own T and n. One-cycle is torch's OneCycleLR.

    Sources: SGDR (Loshchilov and Hutter 2017, equation 5); ConvNeXt's utils.py, torchvision's
    references/classification/train.py, MXNet's lr_scheduler.py, HRNet's lib/utils/utils.py.

    Args:
        schedule: the recipe's schedule.
        base_lr: the learning rate after warmup.
        steps_per_epoch: optimizer steps in an epoch, at least 1.
        step: k, from 0 to the last of the run.
        extra_steps: optimizer steps in an epoch of the extra phase; None: as many as in the others.

    Raises:
        ValueError: the run has no such step.
        ConvsmithError: the warmup has more steps than the run.
    """
    epochs = epochs_of(schedule, steps_per_epoch, extra_steps)
    total = epochs.total_steps(total_epochs(schedule))
    if not 0 <= step < total:
        raise ValueError(f"the run has steps 0 to {total - 1}, not {step}")
    return _rate(schedule, base_lr, epochs, warmup_steps(schedule, steps_per_epoch), _position(schedule, epochs, step))


def learning_rates(
    schedule: Schedule, base_lr: float, steps_per_epoch: int, extra_steps: int | None = None
) -> list[float]:
    """The learning rate of every optimizer step of the run, in order."""
    epochs = epochs_of(schedule, steps_per_epoch, extra_steps)
    total, warmup = epochs.total_steps(total_epochs(schedule)), warmup_steps(schedule, steps_per_epoch)
    if isinstance(schedule, OneCycle) or schedule.by != "epoch":
        return [_rate(schedule, base_lr, epochs, warmup, _position(schedule, epochs, step)) for step in range(total)]
    rates: list[float] = []
    while len(rates) < total:  # an epoch at a time, whose steps have one rate
        position = _position(schedule, epochs, len(rates))
        end = position + epochs.length(epochs.at(position)[0]) - schedule.shift
        rates += [_rate(schedule, base_lr, epochs, warmup, position)] * (end - len(rates))
    return rates[:total]


def epochs_of(schedule: Schedule, steps_per_epoch: int, extra_steps: int | None = None) -> Epochs:
    """How the steps of a run divide into epochs; `extra_steps` are those of an epoch of an extra phase."""
    if isinstance(schedule, OneCycle) or not schedule.extra:
        return Epochs(steps_per_epoch)
    return Epochs(steps_per_epoch, schedule.epochs, steps_per_epoch if extra_steps is None else extra_steps)


def half_cosine(start: float, end: float, share: float) -> float:
    """From `start` at share 0 to `end` at share 1, exactly, slowly at both."""
    return _between(end, start, (1 + math.cos(math.pi * share)) / 2)


def _position(schedule: Schedule, epochs: Epochs, step: int) -> int:
    """The step whose rate a step uses."""
    if isinstance(schedule, OneCycle):
        return step
    position = max(step + schedule.shift, 0)
    return position - epochs.at(position)[1] if schedule.by == "epoch" else position


def _rate(schedule: Schedule, base_lr: float, epochs: Epochs, warmup: int, position: int) -> float:
    steps_per_epoch = epochs.steps
    steps = schedule.epochs * steps_per_epoch
    if isinstance(schedule, OneCycle):
        return _one_cycle(schedule, base_lr, steps, position)
    if position < warmup:
        if schedule.warmup == "constant":
            return schedule.warmup_lr
        ramp = warmup - 1 if schedule.warmup_reaches_lr == "at_last_step" else warmup
        return _between(schedule.warmup_lr, base_lr, position / ramp if ramp else 0.0)
    if schedule.extra and position >= steps:
        base_lr, position, warmup = schedule.extra.lr, position - steps, 0
        steps_per_epoch = epochs.extra_steps
        steps = schedule.extra.epochs * steps_per_epoch
    done = position - warmup
    share = done / max(steps - warmup, 1)
    match schedule:
        case Cosine():
            return half_cosine(base_lr, schedule.min_lr, share)
        case Poly():
            return _between(schedule.min_lr, base_lr, (1 - share) ** schedule.power)
        case Step():
            return float(base_lr * schedule.gamma ** (done // max(1, round(schedule.every_epochs * steps_per_epoch))))
        case MultiStep():
            falls = sum(round(it * steps_per_epoch) <= position for it in schedule.milestones)
            return float(base_lr * schedule.gamma**falls)
        case Exponential():
            return float(base_lr * schedule.gamma ** (done / steps_per_epoch))
        case Constant():
            return base_lr


def _one_cycle(schedule: OneCycle, base_lr: float, steps: int, step: int) -> float:
    lowest = base_lr / schedule.div_factor
    top = schedule.rising * steps - 1  # the step, whole or not, with the full rate; torch counts from 1 here
    if step <= top:
        return half_cosine(lowest, base_lr, step / top if top else 1.0)
    return half_cosine(base_lr, lowest / schedule.final_div_factor, (step - top) / (steps - 1 - top))


def _between(low: float, high: float, share: float) -> float:
    """`low` at share 0 and `high` at share 1, exactly."""
    return low * (1 - share) + high * share
