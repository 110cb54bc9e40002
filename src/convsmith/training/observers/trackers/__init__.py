"""The tracking services, one file each; see `convsmith.training.observers.tracker`."""

from __future__ import annotations

import pkgutil


def list_trackers() -> list[str]:
    """The names of all tracking services, sorted."""
    return sorted(file.name for file in pkgutil.iter_modules(__path__))
