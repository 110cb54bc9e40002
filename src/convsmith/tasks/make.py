"""Tasks by the name that a recipe gives them."""

from __future__ import annotations

from pathlib import Path

from convsmith.data.dataset import DataSet
from convsmith.data.image_folder import open_image_folder
from convsmith.data.mask_folder import open_mask_folder
from convsmith.recipe.mask_data import Masks
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


def open_data(recipe: Recipe, root: Path) -> DataSet:
    """The data of the recipe's task in a folder.

    Raises:
        ConvsmithError: the folder holds no such data, or not what the recipe says.
    """
    val_fraction = recipe.data.val_fraction if recipe.eval else None
    if recipe.task == "segmentation":
        return open_mask_folder(root, recipe.data.masks or Masks(), val_fraction)
    return open_image_folder(root, val_fraction)
