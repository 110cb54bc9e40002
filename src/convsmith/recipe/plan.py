"""The plan: a training in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from convsmith.errors import counted
from convsmith.recipe.by_step import for_file
from convsmith.recipe.epochs import Epochs
from convsmith.recipe.schedules import warmup_steps
from convsmith.tables import Tabular, add_names, new_table

if TYPE_CHECKING:
    from rich.table import Table

    from convsmith.recipe.schema import Recipe

GroupFacts = Sequence[Sequence[float]]
"""How many tensors a group of parameters has, its weight decay, and the scale of its learning rate; for each group."""


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
        yield self.table()

    def table(self, recipe: Recipe | None = None, groups: GroupFacts | None = None) -> Table:
        """Its numbers, in words.

        Args:
            recipe: the one that it is of; it says where the warmup ends, and what the model is called.
            groups: of its parameters; None: those of the self.
        """
        table = new_table(header=False)
        add_names(table, "", "")
        division = f"{counted(self.world_size, 'device')} x {self.per_device_batch} x {self.accumulation} accumulated"
        table.add_row("effective batch", f"{self.effective_batch} = {division}")
        table.add_row("samples", f"{self.num_samples:,}, last batch of an epoch: {self.sampler['last_batch']}")
        if recipe is not None:
            windows = f"windows of {recipe.data.window:,} images where they lie in tar shards, which are shuffled too"
            table.add_row("order", f"another in each epoch; within {windows}")
        first = self.epochs.extra_from or self.total_epochs
        phases = f"{self.total_steps:,} = {counted(first, 'epoch')} x {self.steps_per_epoch:,}"
        if self.extra is not None:
            phases += f" + {self.total_epochs - first} x {self.extra['steps_per_epoch']:,}"
        table.add_row("steps", phases)
        if self.lr:
            marks = {self.total_steps * quarter // 4: f"{quarter}/4 of the run" for quarter in (1, 2, 3)}
            marks[self.total_steps - 1] = "last step"
            if recipe is not None:
                marks[warmup_steps(recipe.schedule, self.steps_per_epoch)] = "end of warmup"
            marks[0] = "first step"
            rates = [f"{self.lr[step]:.6g} at step {step:,}, {mark}" for step, mark in sorted(marks.items())]
            table.add_row("learning rate", "\n".join(rates))
        if self.weight_decay:
            table.add_row("weight decay", f"a cosine from {self.weight_decay[0]:g} to {self.weight_decay[-1]:.6g}")
        own = [[len(group.names), group.weight_decay, group.lr_scale] for group in self.groups or ()]
        for tensors, decay, scale in own if groups is None else groups:
            count = counted(int(tensors), "tensor")
            table.add_row("group", f"{count}, weight decay {decay:g}, learning rate x {scale:g}")
        if custom := self.augment.get("custom"):
            table.add_row("code of yours", f"{custom}, as augment.custom")
        if self.params is not None and self.gmacs is not None and self.memory_bytes is not None:
            name = f"{recipe.model.name}: " if recipe is not None else ""
            table.add_row("model", f"{name}{self.params:,} parameters, {self.gmacs:.4g} GMACs per image")
            table.add_row("memory", f"about {self.memory_bytes / 2**30:.2f} GiB per device")
        return table
