"""The tasks of trained models, one file each; see `convsmith.bundle.task`."""

from __future__ import annotations

import pkgutil


def list_tasks() -> list[str]:
    """The names of all tasks, sorted."""
    return sorted(file.name for file in pkgutil.iter_modules(__path__))
