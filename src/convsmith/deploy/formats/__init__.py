"""The formats, one file each; see `convsmith.deploy.format`."""

from __future__ import annotations

import pkgutil


def list_formats() -> list[str]:
    """The names of all formats, sorted."""
    return sorted(file.name.replace("_", "-") for file in pkgutil.iter_modules(__path__))
