"""Tasks by the name that a recipe gives them."""

from __future__ import annotations

from pathlib import Path

from convsmith.data.dataset import DataSet
from convsmith.data.image_folder import open_image_folder
from convsmith.recipe.schema import Recipe
from convsmith.tasks.base import Task
from convsmith.tasks.classification import Classification

_TASKS = {"classification": Classification}


def make_task(recipe: Recipe) -> Task:
    """The task that `recipe.task` names."""
    return _TASKS[recipe.task](recipe)


def open_data(recipe: Recipe, root: Path) -> DataSet:
    """The data of the recipe's task in a folder.

    Raises:
        ConvsmithError: the folder holds no such data, or not what the recipe says.
    """
    val_fraction = recipe.data.val_fraction if recipe.eval else None
    return open_image_folder(root, val_fraction)
