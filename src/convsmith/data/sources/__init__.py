"""The places that data come from, one file each; see `convsmith.data.source`."""

from __future__ import annotations

import pkgutil


def list_sources() -> list[str]:
    """The names of all sources, sorted."""
    return sorted(file.name for file in pkgutil.iter_modules(__path__))
