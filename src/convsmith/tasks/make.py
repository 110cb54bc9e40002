"""Tasks by the name that a recipe gives them."""

from __future__ import annotations

import os
from pathlib import Path

from convsmith.bundle.decode import MAX_PIXELS_VARIABLE
from convsmith.data.dataset import DataSet
from convsmith.data.image_folder import open_image_folder
from convsmith.data.mask_contents import refuse_ignored_class
from convsmith.data.mask_folder import class_values, open_mask_folder
from convsmith.data.mask_search import refuse_masks_as_classes
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

    Where the recipe says how many pixels an image may have, that holds for this process and its workers from now on.

    Raises:
        ConvsmithError: the folder holds no such data, or not what the recipe says.
    """
    if recipe.data.max_pixels is not None:
        os.environ[MAX_PIXELS_VARIABLE] = str(recipe.data.max_pixels)
    val_fraction = recipe.data.val_fraction if recipe.eval else None
    if recipe.task == "segmentation":
        masks = recipe.data.masks or Masks()
        folder = open_mask_folder(root, masks, val_fraction)
        files = [folder.train.mask(i) for i in range(len(folder.train))]
        refuse_ignored_class(masks, class_values(masks, len(folder.classes)), files)
        return folder
    if recipe.model.num_classes is None:  # who says how many classes there are has looked at the folders
        refuse_masks_as_classes(root)
    return open_image_folder(root, val_fraction)
