"""Tasks by the name that a recipe gives them."""

from __future__ import annotations

from convsmith.recipe.schema import Recipe
from convsmith.tasks.base import Task
from convsmith.tasks.classification import Classification
from convsmith.tasks.segmentation import Segmentation

_TASKS: dict[str, type[Classification] | type[Segmentation]] = {
    "classification": Classification,
    "segmentation": Segmentation,
}


def make_task(recipe: Recipe) -> Task:
    """The task that `recipe.task` names."""
    return _TASKS[recipe.task](recipe)
