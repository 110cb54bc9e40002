"""The recipes inside this package: their names, their files, and what each says of itself.

Nothing here checks a recipe or imports what that takes, so that listing them is instant.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

_LINE = re.compile(r"^(extends|description|source): (.*)$", re.MULTILINE)


class Headline(NamedTuple):
    """A packaged recipe in a line."""

    name: str
    description: str
    source: str
    """Where its numbers come from."""


def packaged(folder: str = "library") -> dict[str, Traversable]:
    """The recipes and bases inside this package by name, sorted; or the files of another folder beside them."""
    library = files("convsmith.recipe") / folder
    found = {file.name.removesuffix(".yaml"): file for file in library.iterdir() if file.name.endswith(".yaml")}
    return dict(sorted(found.items()))


def list_recipes(pattern: str = "*") -> list[str]:
    """Names of the packaged recipes that match a shell pattern such as `resnet*`, sorted.

    Examples:
        >>> cs.list_recipes("digit*")
        ['digit-scenes', 'digits']
    """
    return [name for name in fnmatch.filter(packaged(), pattern) if not name.startswith("base-")]


def read_headlines(pattern: str = "*") -> list[Headline]:
    """Those of the packaged recipes that match a shell pattern such as `resnet*`, sorted by name."""
    said = {name: _first_lines(file) for name, file in packaged().items()}
    return [
        Headline(name, _find(said, name, "description"), _find(said, name, "source")) for name in list_recipes(pattern)
    ]


def _first_lines(file: Traversable) -> dict[str, str]:
    """The keys that stand in one line of their own each, as text with or without quotes."""
    lines = dict(_LINE.findall(file.read_text(encoding="utf-8")))
    return {key: json.loads(text) if text.startswith('"') else text for key, text in lines.items()}


def _find(said: Mapping[str, Mapping[str, str]], name: str, key: str) -> str:
    """A key of a recipe, or else of the one that it extends."""
    return said[name][key] if key in said[name] else _find(said, said[name]["extends"], key)
