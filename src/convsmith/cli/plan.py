"""convsmith plan."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from convsmith.cli.options import Nodes, Overrides, RecipeName

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
    from convsmith.tables import print_table

    checked = load_recipe(recipe, overrides or ())
    size = (num_samples, nodes, devices, extra_samples)
    if as_json:
        print(json.dumps(_solve(checked, *size).to_dict()))
    else:
        solved, groups = _known(checked, *size) or (_solve(checked, *size), None)
        print_table(solved.table(checked, groups))


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


def _solve(recipe: Recipe, num_samples: int, nodes: int, devices: int, extra_samples: int | None) -> Plan:
    if importlib.util.find_spec("torch") is None:
        from convsmith.recipe.make_plan import make_plan

        print("torch is not installed: groups, parameters, GMACs and memory are left out", file=sys.stderr)
        return make_plan(recipe, num_samples, nodes, devices, extra_samples=extra_samples)
    from convsmith.training.model_plan import plan as complete_plan

    return complete_plan(recipe, num_samples, nodes, devices, extra_samples)
