"""From a name or a file, and overrides, to a checked recipe; and back to YAML."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convsmith.recipe.layers import file_layers, merge, override_layer, packaged
from convsmith.recipe.problems import validate
from convsmith.recipe.schema import Recipe
from convsmith.recipe.yaml_text import write_yaml


@dataclass(frozen=True)
class Resolved:
    """A recipe with nothing left open.

    Attributes:
        recipe: the checked recipe.
        values: the same as nested mappings of plain values, defaults included.
        origins: where each value came from, by dotted path: `resnet50-in1k:12` (a packaged recipe and its line),
            `my.yaml:3`, `command line` or `default`.
    """

    recipe: Recipe
    values: dict[str, Any]
    origins: dict[str, str]


def list_recipes(pattern: str = "*") -> list[str]:
    """Names of the packaged recipes that match a shell pattern such as `resnet*`, sorted."""
    return [name for name in fnmatch.filter(packaged(), pattern) if not name.startswith("base-")]


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        source: one of `list_recipes()`, or the path of a YAML file (its name ends in .yaml or has a `/`).
        overrides: words such as `optimizer.lr=0.2`; the value is YAML.

    Raises:
        ConvsmithError: there is no such recipe, it is not YAML, or it says what a recipe cannot say. All problems
            are named, each with the file and line that it came from.
    """
    return resolve(source, overrides).recipe


def resolve(source: str | Path, overrides: Sequence[str] = ()) -> Resolved:
    """`load_recipe`, with where each value came from."""
    layers = [*file_layers(source), override_layer(overrides)]
    given: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        given = merge(_without_other_kinds(given, layer.values), layer.values)
        origins |= layer.origins
    origins = {path: origins[path] for path, _ in _walk(given)}  # less what a later layer threw out

    def origin(path: str) -> str:
        """Of a value, of the list of an item, or of the section that lacks a key."""
        while path and path not in origins:
            path = path.rpartition("[" if path.endswith("]") else ".")[0]
        return origins.get(path, layers[-2].name)

    recipe = validate(given, origin)
    values = recipe.model_dump(mode="json")
    leaves = [path for path, value in _walk(values) if not (isinstance(value, dict) and value)]
    return Resolved(recipe, values, {path: origins.get(path, "default") for path in leaves})


def recipe_to_yaml(recipe: Recipe, origins: Mapping[str, str] | None = None) -> str:
    """The whole recipe, defaults included, as YAML that loads to the same recipe.

    Args:
        recipe: what to write.
        origins: by dotted path, a remark to write behind a value.
    """
    return "\n".join(_lines(recipe.model_dump(mode="json"), "", origins or {})) + "\n"


def _without_other_kinds(given: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """What a child inherits: a section whose `name` it changes is dropped, so that no key of another kind is left."""
    kept = dict(given)
    for section, field in Recipe.model_fields.items():
        both = [part for part in (given.get(section), child.get(section)) if isinstance(part, dict) and "name" in part]
        if field.discriminator and len(both) == 2 and both[0]["name"] != both[1]["name"]:
            del kept[section]
    return kept


def _walk(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key by its dotted path, sections before what is in them."""
    for key, value in values.items():
        yield prefix + key, value
        if isinstance(value, dict):
            yield from _walk(value, f"{prefix}{key}.")


def _lines(values: Mapping[str, Any], prefix: str, remarks: Mapping[str, str]) -> Iterator[str]:
    indent = "  " * prefix.count(".")
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{write_yaml(key)}:"
            yield from _lines(value, f"{prefix}{key}.", remarks)
        else:
            line = f"{indent}{write_yaml(key)}: {write_yaml(value)}"
            remark = remarks.get(prefix + key)
            yield f"{line:<44}  # {remark if remark.isprintable() else ascii(remark)}" if remark else line
