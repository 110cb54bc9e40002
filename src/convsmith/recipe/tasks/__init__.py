"""The part of a recipe that depends on its task, one file each; see `convsmith.recipe.task_fit`."""

from __future__ import annotations

import pkgutil


def list_tasks() -> list[str]:
    """The names of all tasks, sorted."""
    return sorted(file.name for file in pkgutil.iter_modules(__path__))
