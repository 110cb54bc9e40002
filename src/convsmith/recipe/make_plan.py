"""Solves a plan: a recipe, the size of the data and the hardware become numbers."""

from __future__ import annotations

import logging

from convsmith.errors import ConvsmithError
from convsmith.recipe.by_step import LearningRates, WeightDecays
from convsmith.recipe.optimization import MultiStep, Schedule
from convsmith.recipe.plan import Plan
from convsmith.recipe.sampling import Sampling
from convsmith.recipe.schedules import epochs_of, total_epochs
from convsmith.recipe.schema import Recipe

logger = logging.getLogger(__name__)

MAX_STEPS = 10_000_000  # ImageNet-21k for 90 epochs of batch 256 is 5 million


def make_plan(
    recipe: Recipe,
    num_samples: int,
    nodes: int = 1,
    devices: int = 1,
    max_per_device: int | None = None,
    *,
    extra_samples: int | None = None,
) -> Plan:
    """The plan of a recipe, without what needs the model (`groups`, `params`, `gmacs`, `memory_bytes`).

    Args:
        recipe: what to train.
        num_samples: samples in the training split.
        nodes: machines.
        devices: processes on each machine, one for each device.
        max_per_device: where the recipe leaves `batch.per_device` to the plan, the most samples of one forward
            pass; None sets no limit. The largest batch that divides evenly is taken, with a warning if it is less than
            half of that.
        extra_samples: samples that an extra phase learns from; None: the same as in training.

    Raises:
        ConvsmithError: a number is below 1, the effective batch cannot be divided over the devices, or an epoch has
            no full batch or too many.
    """
    limit = 1 if max_per_device is None else max_per_device
    extra_samples = num_samples if extra_samples is None else extra_samples
    counts = {"num_samples": num_samples, "extra_samples": extra_samples}
    counts |= {"nodes": nodes, "devices": devices, "max_per_device": limit}
    for name, count in counts.items():
        if count < 1:
            raise ConvsmithError(f"{name} must be at least 1, not {count}")
    per_device, accumulation = divide_batch(recipe, nodes, devices, max_per_device)
    steps_per_epoch, extra_steps = (_steps_per_epoch(recipe, samples) for samples in (num_samples, extra_samples))
    epochs = epochs_of(recipe.schedule, steps_per_epoch, extra_steps)
    total_steps = epochs.total_steps(total_epochs(recipe.schedule))
    extra = {"num_samples": extra_samples, "steps_per_epoch": extra_steps}
    if total_steps > MAX_STEPS:
        raise ConvsmithError(
            f"the run would have {total_steps:,} optimizer steps",
            f"a plan lists each, and holds at most {MAX_STEPS:,}",
            "Raise batch.size or lower schedule.epochs.",
        )
    _warn_of_late_milestones(recipe.schedule)
    _note_what_does_little(recipe, per_device, min(num_samples, extra_samples))
    decay, decay_end = recipe.optimizer.weight_decay, recipe.optimizer.weight_decay_end
    dump = recipe.model_dump(mode="json")
    return Plan(
        world_size=nodes * devices,
        per_device_batch=per_device,
        accumulation=accumulation,
        effective_batch=recipe.batch.size,
        num_samples=num_samples,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        lr=LearningRates(recipe.schedule, base_lr(recipe), steps_per_epoch, extra_steps),
        weight_decay=None if decay_end is None else WeightDecays(decay, decay_end, total_steps),
        groups=None,
        augment=dump["augment"],
        sampler={
            "last_batch": recipe.data.last_batch,
            "window": recipe.data.window,
            "seed": recipe.seed,
            **dump["sampling"],
        },
        mixing=dump["mixing"],
        loss=dump["loss"],
        distillation=dump["distillation"],
        freeze=dump["freeze"],
        ema=dump["ema"],
        params=None,
        gmacs=None,
        memory_bytes=None,
        extra=None if epochs.extra_from is None else {**extra, "first_epoch": epochs.extra_from},
    )


def _warn_of_late_milestones(schedule: Schedule) -> None:
    """No error: a recipe may be shortened for a first try."""
    if isinstance(schedule, MultiStep) and schedule.epochs:
        epochs = max(schedule.epochs, schedule.extra.epochs if schedule.extra else 0)
        late = [f"{milestone:g}" for milestone in schedule.milestones if milestone >= epochs]
        if late:
            logger.warning(
                "schedule.milestones: %s come after the last of %d epochs, and change nothing", ", ".join(late), epochs
            )


def _note_what_does_little(recipe: Recipe, per_device: int, num_samples: int) -> None:
    if recipe.mixing and per_device == 1:
        logger.warning(
            "mixing changes nothing: images of one forward pass are mixed, and there is one in each; raise batch.size "
            "or batch.per_device"
        )
    look = recipe.preprocess
    if look.method == "resize_then_crop" and look.crop > look.resize:
        logger.warning(
            "preprocess.crop=%d is more than preprocess.resize=%d: validation and predict see black borders on each "
            "image; set preprocess.resize=%d or more",
            look.crop, look.resize, look.crop,
        )  # fmt: skip
    epoch = samples_per_epoch(recipe.sampling, num_samples)
    if recipe.batch.size > epoch:
        logger.warning(
            "batch.size=%d is more than the %d samples of an epoch: a step learns from some of them more than once; "
            "set batch.size=%d or less",
            recipe.batch.size, epoch, epoch,
        )  # fmt: skip


def samples_per_epoch(sampling: Sampling, num_samples: int) -> int:
    """How many samples an epoch has, of whatever kind: as many as there are images in the share that is used."""
    return max(1, round(sampling.fraction * num_samples))


def base_lr(recipe: Recipe) -> float:
    """The learning rate after warmup, scaled to the recipe's batch where it says so.

    `warmup_lr`, `min_lr` and the rate of an extra phase are what the recipe says, unscaled.
    """
    return recipe.optimizer.lr_for(recipe.batch.size)


def divide_batch(recipe: Recipe, nodes: int, devices: int, max_per_device: int | None = None) -> tuple[int, int]:
    """Per-device batch and accumulation, with the arguments of `make_plan`.

    Raises:
        ConvsmithError: the effective batch cannot be divided over the devices.
    """
    size, per_device = recipe.batch.size, recipe.batch.per_device
    world = nodes * devices
    unit = world * per_device if isinstance(per_device, int) else world
    if size % unit:
        share = f" with batch.per_device={per_device}" if isinstance(per_device, int) else ""
        below = size - size % unit
        nearest = " or ".join(f"batch.size={near}" for near in (below, below + unit) if near)
        raise ConvsmithError(
            f"batch.size={size} cannot be divided over {nodes} x {devices} devices{share}",
            f"it must be a multiple of {unit}",
            f"The nearest possible: {nearest}" + ("." if size % world else "; or set batch.per_device=auto."),
        )
    each = size // world
    if isinstance(per_device, int):
        return per_device, each // per_device
    limit = each if max_per_device is None else min(each, max_per_device)
    largest = _largest_divisor(each, limit)
    if 2 * largest < limit:
        better = [
            next(near * world for near in nearby if 2 * _largest_divisor(near, limit) >= limit)
            for nearby in (range(each, 0, -1), range(each, each + limit + 1))
        ]
        logger.warning(
            "batch.size=%d is divided into forward passes of %d, though %d fit into memory; "
            "batch.size=%d and batch.size=%d divide better",
            size, largest, limit, *better,
        )  # fmt: skip
    return largest, each // largest


def _largest_divisor(number: int, limit: int) -> int:
    """Largest divisor of `number` that is at most `limit`."""
    return next(divisor for divisor in range(min(number, limit), 0, -1) if number % divisor == 0)


def _steps_per_epoch(recipe: Recipe, num_samples: int) -> int:
    size, num_samples = recipe.batch.size, samples_per_epoch(recipe.sampling, num_samples)
    if recipe.data.last_batch == "wrap":
        return -(-num_samples // size)
    if num_samples < size:
        raise ConvsmithError(
            f"{num_samples} training samples do not fill one batch of {size}",
            "data.last_batch=drop leaves a batch that is not full to another epoch, so no epoch would have a step",
            f"Set data.last_batch=wrap, or batch.size={num_samples} or less.",
        )
    return num_samples // size
