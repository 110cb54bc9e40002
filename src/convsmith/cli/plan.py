"""convsmith plan."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from convsmith.cli.options import Nodes, Overrides, RecipeName
from convsmith.errors import counted

if TYPE_CHECKING:
    from convsmith.recipe.plan import Plan
    from convsmith.recipe.schema import Recipe


def plan(
    recipe: RecipeName,
    overrides: Overrides = None,
    *,
    num_samples: Annotated[int, typer.Option(help="Images in the training split.")],
    extra_samples: Annotated[
        int | None, typer.Option(help="Images of an extra phase.  [default: those of the first]")
    ] = None,
    nodes: Nodes = 1,
    devices: Annotated[int, typer.Option(help="GPUs, or CPU processes, of each machine.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of the plan, every step too, as JSON.")] = False,
) -> None:
    """Print what training a recipe would do, in numbers, without training.

    Example: convsmith plan resnet50-in1k --num-samples 1281167 --nodes 4 --devices 8
    """
    import json

    from convsmith.recipe.load import load_recipe

    checked = load_recipe(recipe, overrides or ())
    size = (num_samples, nodes, devices, extra_samples)
    if as_json:
        print(json.dumps(_solve(checked, *size).to_dict()))
    else:
        _print(checked, *(_known(checked, *size) or _with_groups(_solve(checked, *size))))


def _known(
    recipe: Recipe, num_samples: int, nodes: int, devices: int, extra_samples: int | None
) -> tuple[Plan, list[list[float]]] | None:
    """The plan, and the size, weight decay and scale of each parameter group, where its model was measured before."""
    from convsmith import machine
    from convsmith.recipe.costs import known_cost, plan_within

    cost = known_cost(recipe)
    if cost is None:
        return None
    solved = plan_within(
        machine.memory() / devices, cost, recipe, num_samples, nodes=nodes, devices=devices, extra_samples=extra_samples
    )
    # whether a model can learn from one image at a time takes the model to find out
    return None if solved.per_device_batch == 1 else (solved, cost.groups)


def _with_groups(plan: Plan) -> tuple[Plan, list[list[float]]]:
    return plan, [[len(group.names), group.weight_decay, group.lr_scale] for group in plan.groups or ()]


def _solve(recipe: Recipe, num_samples: int, nodes: int, devices: int, extra_samples: int | None) -> Plan:
    if importlib.util.find_spec("torch") is None:
        from convsmith.recipe.plan import make_plan

        print("torch is not installed: groups, parameters, GMACs and memory are left out", file=sys.stderr)
        return make_plan(recipe, num_samples, nodes, devices, extra_samples=extra_samples)
    from convsmith.training.model_plan import plan as complete_plan

    return complete_plan(recipe, num_samples, nodes, devices, extra_samples)


def _print(recipe: Recipe, plan: Plan, groups: list[list[float]]) -> None:
    from convsmith.cli.tables import add_names, new_table, print_table
    from convsmith.recipe.schedules import warmup_steps

    table = new_table(header=False)
    add_names(table, "", "")
    division = f"{counted(plan.world_size, 'device')} x {plan.per_device_batch} x {plan.accumulation} accumulated"
    table.add_row("effective batch", f"{plan.effective_batch} = {division}")
    table.add_row("samples", f"{plan.num_samples:,}, last batch of an epoch: {recipe.data.last_batch}")
    windows = f"within windows of {recipe.data.window:,} images where they lie in tar shards, which are shuffled too"
    table.add_row("order", f"another in each epoch; {windows}")
    first = plan.epochs.extra_from or plan.total_epochs
    phases = f"{plan.total_steps:,} = {counted(first, 'epoch')} x {plan.steps_per_epoch:,}"
    if plan.extra is not None:
        phases += f" + {plan.total_epochs - first} x {plan.extra['steps_per_epoch']:,}"
    table.add_row("steps", phases)
    if plan.lr:
        marks = {plan.total_steps * quarter // 4: f"{quarter}/4 of the run" for quarter in (1, 2, 3)}
        warmup = warmup_steps(recipe.schedule, plan.steps_per_epoch)
        marks |= {plan.total_steps - 1: "last step", warmup: "end of warmup", 0: "first step"}
        rates = [f"{plan.lr[step]:.6g} at step {step:,}, {mark}" for step, mark in sorted(marks.items())]
        table.add_row("learning rate", "\n".join(rates))
    if plan.weight_decay:
        table.add_row("weight decay", f"a cosine from {plan.weight_decay[0]:g} to {plan.weight_decay[-1]:.6g}")
    for tensors, decay, scale in groups:
        count = counted(int(tensors), "tensor")
        table.add_row("group", f"{count}, weight decay {decay:g}, learning rate x {scale:g}")
    if plan.params is not None and plan.gmacs is not None and plan.memory_bytes is not None:
        table.add_row("model", f"{recipe.model.name}: {plan.params:,} parameters, {plan.gmacs:.4g} GMACs per image")
        table.add_row("memory", f"about {plan.memory_bytes / 2**30:.2f} GiB per device")
    print_table(table)
