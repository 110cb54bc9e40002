"""Preparing a training: its data, its plan, and the steps of one that is only measured."""

from __future__ import annotations

from pathlib import Path

from convsmith.data.channel_mean import with_measured_mean
from convsmith.data.dataset import DataSet
from convsmith.data.memory.in_memory import InMemory
from convsmith.data.open_data import data_of_recipe
from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.recipe.load import load_recipe
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe
from convsmith.training.model_plan import plan as make_plan
from convsmith.training.parallel.agreement import agree
from convsmith.training.parallel.distributed import broadcast
from convsmith.training.parts import make_parts
from convsmith.training.resume import begin
from convsmith.training.run import Run
from convsmith.training.settle import settled
from convsmith.training.stepper import Stepper

_ALONE = World()


def prepare_training(
    recipe: Recipe | str | Path,
    data: str | Path | InMemory,
    world: World = _ALONE,
    shard: bool = False,
    begun: Recipe | None = None,
) -> tuple[Recipe, DataSet, Plan]:
    """The recipe with what it takes from the data, the data, and the plan of both; nothing is written.

    Args:
        recipe, data, shard: those of `train`.
        world: the processes that train.
        begun: the recipe of the run that is gone on with, if there is one.

    Raises:
        ConvsmithError: something in the recipe or the data must be put right, or is not the same in all processes.
    """
    recipe = settled(recipe if isinstance(recipe, Recipe) else load_recipe(recipe), begun)
    dataset = data_of_recipe(recipe, data if isinstance(data, InMemory) else Path(data))
    agree(recipe, dataset, shard, world)
    recipe = with_measured_mean(_with_num_classes(recipe, dataset), dataset.train)
    extra_samples = None if dataset.extra is None else len(dataset.extra)
    plan = make_plan(recipe, len(dataset.train), *world.grid, extra_samples=extra_samples)
    return recipe, dataset, broadcast(world, plan)  # the memory of another machine may be of another size


def require_steps(recipe: Recipe) -> None:
    """Raise a ConvsmithError if a training of the recipe has none."""
    if recipe.schedule.epochs == 0:
        raise ConvsmithError("schedule.epochs is 0, so there is no step to take", fix="Set schedule.epochs.")


def stepper_at_start(recipe: Recipe, plan: Plan, dataset: DataSet, run_dir: Path) -> Stepper:
    """Prepare a training for measurement, without observers; the only files it writes name bad samples."""
    session = begin(recipe, plan, dataset, Run(run_dir), world=_ALONE, checkpoint=None)
    return Stepper(session, make_parts(session), None)


def _with_num_classes(recipe: Recipe, dataset: DataSet) -> Recipe:
    """The recipe with the data's number of classes.

    Raises:
        ConvsmithError: the recipe asks for another number.
    """
    found, wanted = len(dataset.classes), recipe.model.num_classes
    if wanted not in (None, found):
        raise ConvsmithError(
            f"the recipe says model.num_classes={wanted}, but {dataset.root} has {found} classes",
            fix="Set model.num_classes=null to take it from the data.",
        )
    return recipe.with_num_classes(found)
