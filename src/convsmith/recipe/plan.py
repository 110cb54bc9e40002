"""The plan: a recipe, the size of the data and the hardware, resolved into numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from convsmith.errors import ConvsmithError
from convsmith.recipe.by_step import LearningRates, WeightDecays, for_file
from convsmith.recipe.epochs import Epochs
from convsmith.recipe.optimization import MultiStep, Schedule
from convsmith.recipe.plan_table import plan_table
from convsmith.recipe.sampling import Sampling
from convsmith.recipe.schedules import epochs_of, total_epochs
from convsmith.recipe.schema import Recipe
from convsmith.tables import Tabular

if TYPE_CHECKING:
    from rich.table import Table

logger = logging.getLogger(__name__)

MAX_STEPS = 10_000_000  # ImageNet-21k for 90 epochs of batch 256 is 5 million


@dataclass(frozen=True)
class Group:
    """Parameters that the optimizer treats alike: `lr_scale` multiplies the plan's learning rate."""

    lr_scale: float
    weight_decay: float
    names: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Plan(Tabular):
    """A training, in numbers.

    effective_batch = world_size x per_device_batch x accumulation, and, where there is no extra phase, total_steps =
    total_epochs x steps_per_epoch.

    Attributes:
        world_size: processes, one for each device of all nodes.
        per_device_batch: samples of one forward pass.
        accumulation: forward passes of each process in one optimizer step.
        effective_batch: samples of one optimizer step.
        num_samples: samples in the training split.
        steps_per_epoch: optimizer steps in an epoch.
        total_steps: optimizer steps of the run, an extra phase counted.
        lr: learning rate of each optimizer step, for a group of scale 1.
        weight_decay: of each step where `optimizer.weight_decay_end` schedules it, for the groups whose own is
            `optimizer.weight_decay`; else None, and it is constant in each group.
        groups: parameter groups of the optimizer; None until the model is known.
        augment: the recipe's augmentation.
        sampler: `last_batch`, `window`, `seed` and the recipe's sampling, which with `num_samples`, the labels where it
            balances, and the shards where there are any, fix the order of every epoch.
        mixing: the recipe's mixing of images, None if there is none.
        loss: the recipe's loss.
        distillation: the recipe's teacher and what is learned from it, None if there is none.
        freeze: what does not learn, None if all does.
        ema: the recipe's weight averaging, None if there is none.
        params: trainable parameters; None until the model is known.
        gmacs: 1e9 multiply-adds of one image's forward pass; None until the model is known.
        memory_bytes: estimated peak memory of one process; None until the model is known.
        extra: `num_samples`, `steps_per_epoch` and `first_epoch` of an extra phase; None: there is none.

    Examples:
        >>> plan = cs.plan(cs.load_recipe("digits", ["batch.per_device=16"]), num_samples=1438)
        >>> plan.per_device_batch, plan.accumulation, plan.effective_batch
        (16, 4, 64)
    """

    world_size: int
    per_device_batch: int
    accumulation: int
    effective_batch: int
    num_samples: int
    steps_per_epoch: int
    total_steps: int
    lr: Sequence[float]
    weight_decay: Sequence[float] | None
    groups: tuple[Group, ...] | None
    augment: dict[str, Any]
    sampler: dict[str, Any]
    mixing: dict[str, Any] | None
    loss: dict[str, Any]
    distillation: dict[str, Any] | None
    freeze: dict[str, Any] | None
    ema: dict[str, Any] | None
    params: int | None
    gmacs: float | None
    memory_bytes: int | None
    extra: dict[str, int] | None

    @property
    def epochs(self) -> Epochs:
        """How the steps divide into epochs."""
        if self.extra is None:
            return Epochs(self.steps_per_epoch)
        return Epochs(self.steps_per_epoch, self.extra["first_epoch"], self.extra["steps_per_epoch"])

    @property
    def total_epochs(self) -> int:
        """Passes over the training data, those of an extra phase counted."""
        return self.epochs.at(self.total_steps - 1)[0] + 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values, each step's numbers listed; equal to what reading them back as JSON gives."""
        values = dict(vars(self))
        values["lr"] = list(self.lr)
        values["weight_decay"] = None if self.weight_decay is None else list(self.weight_decay)
        if self.groups is not None:
            values["groups"] = [{**asdict(group), "names": list(group.names)} for group in self.groups]
        return values

    def for_file(self) -> dict[str, Any]:
        """The content of `plan.json`: `to_dict`, with the rule of the numbers of very many steps in place of these."""
        return replace(self, lr=(), weight_decay=None).to_dict() | {
            key: for_file(key, getattr(self, key)) for key in ("lr", "weight_decay")
        }

    def records(self) -> list[dict[str, Any]]:
        """A row for each optimizer step: its number, epoch, learning rate and weight decay."""
        decays: Sequence[float | None] = self.weight_decay or [None] * len(self.lr)
        steps = enumerate(zip(self.lr, decays, strict=True))
        return [
            {"step": step, "epoch": self.epochs.at(step)[0], "lr": lr, "weight_decay": decay}
            for step, (lr, decay) in steps
        ]

    def parts(self) -> Iterator[Table]:
        """The table of its numbers."""
        yield plan_table(self)


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
