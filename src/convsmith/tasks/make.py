"""How each task is trained: a file of this room with the name of the task, that has a `TASK`; nothing else lists it.

What its trained models say is in the file of the same name in `convsmith.bundle.tasks`.
"""

from __future__ import annotations

from importlib import import_module

from convsmith.recipe.schema import Recipe
from convsmith.tasks.base import Task


def make_task(recipe: Recipe) -> Task:
    """The task that `recipe.task` names."""
    made: Task = import_module(f"convsmith.tasks.{recipe.task}").TASK(recipe)
    return made
