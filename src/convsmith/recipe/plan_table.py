"""A plan as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convsmith.errors import counted
from convsmith.recipe.schedules import warmup_steps
from convsmith.tables import add_names, new_table

if TYPE_CHECKING:
    from rich.table import Table

    from convsmith.recipe.plan import Plan
    from convsmith.recipe.schema import Recipe

GroupFacts = Sequence[Sequence[float]]
"""How many tensors a group of parameters has, its weight decay, and the scale of its learning rate; for each group."""


def plan_table(plan: Plan, recipe: Recipe | None = None, groups: GroupFacts | None = None) -> Table:
    """The numbers of a plan.

    Args:
        plan: the plan.
        recipe: of which it is; it says where the warmup ends, and what the model is called.
        groups: of its parameters; None: those of the plan.
    """
    table = new_table(header=False)
    add_names(table, "", "")
    division = f"{counted(plan.world_size, 'device')} x {plan.per_device_batch} x {plan.accumulation} accumulated"
    table.add_row("effective batch", f"{plan.effective_batch} = {division}")
    table.add_row("samples", f"{plan.num_samples:,}, last batch of an epoch: {plan.sampler['last_batch']}")
    if recipe is not None:
        windows = f"windows of {recipe.data.window:,} images where they lie in tar shards, which are shuffled too"
        table.add_row("order", f"another in each epoch; within {windows}")
    first = plan.epochs.extra_from or plan.total_epochs
    phases = f"{plan.total_steps:,} = {counted(first, 'epoch')} x {plan.steps_per_epoch:,}"
    if plan.extra is not None:
        phases += f" + {plan.total_epochs - first} x {plan.extra['steps_per_epoch']:,}"
    table.add_row("steps", phases)
    if plan.lr:
        marks = {plan.total_steps * quarter // 4: f"{quarter}/4 of the run" for quarter in (1, 2, 3)}
        marks[plan.total_steps - 1] = "last step"
        if recipe is not None:
            marks[warmup_steps(recipe.schedule, plan.steps_per_epoch)] = "end of warmup"
        marks[0] = "first step"
        rates = [f"{plan.lr[step]:.6g} at step {step:,}, {mark}" for step, mark in sorted(marks.items())]
        table.add_row("learning rate", "\n".join(rates))
    if plan.weight_decay:
        table.add_row("weight decay", f"a cosine from {plan.weight_decay[0]:g} to {plan.weight_decay[-1]:.6g}")
    own = [[len(group.names), group.weight_decay, group.lr_scale] for group in plan.groups or ()]
    for tensors, decay, scale in own if groups is None else groups:
        count = counted(int(tensors), "tensor")
        table.add_row("group", f"{count}, weight decay {decay:g}, learning rate x {scale:g}")
    if custom := plan.augment.get("custom"):
        table.add_row("code of yours", f"{custom}, as augment.custom")
    if plan.params is not None and plan.gmacs is not None and plan.memory_bytes is not None:
        name = f"{recipe.model.name}: " if recipe is not None else ""
        table.add_row("model", f"{name}{plan.params:,} parameters, {plan.gmacs:.4g} GMACs per image")
        table.add_row("memory", f"about {plan.memory_bytes / 2**30:.2f} GiB per device")
    return table
