"""From a name or a file, and overrides, to a checked recipe; and back to YAML."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convsmith.recipe.layers import file_layers, merge, override_layer, packaged
from convsmith.recipe.problems import kinds_of, sections_of, validate
from convsmith.recipe.schema import Recipe
from convsmith.recipe.yaml_text import write_yaml
from convsmith.spec import Section


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

    recipe = validate(_with_usual_kinds(given), origin)
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


def _without_other_kinds(
    given: Mapping[str, Any], child: Mapping[str, Any], section: type[Section] = Recipe
) -> dict[str, Any]:
    """What a child inherits: a section whose `name` it changes is dropped, so that no key of another kind is left.

    Of a schedule stays what both kinds have: epochs and warmup mean the same in all of them, whereas the learning
    rate of one optimizer would ruin a run with another.
    """
    kept = dict(given)
    for key, field in section.model_fields.items():
        old, new = given.get(key), child.get(key)
        if not isinstance(old, dict) or not isinstance(new, dict):
            continue
        kinds = kinds_of(field.annotation)
        before, after = (kinds.get(part.get("name", "")) for part in (old, new))
        if len(kinds) < 2:
            for below in sections_of(field.annotation):
                kept[key] = _without_other_kinds(old, new, below)
        elif "name" in new and old.get("name") != new["name"]:
            del kept[key]
            if key == "schedule" and before and after:
                shared = before.model_fields.keys() & after.model_fields.keys() - {"name"}
                kept[key] = {name: value for name, value in old.items() if name in shared}
    return kept


def _with_usual_kinds(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with its name in each section that leaves out what kind it is, where one kind is the usual one."""
    named = dict(values)
    for key, field in Recipe.model_fields.items():
        usual = [
            name for name, kind in kinds_of(field.annotation).items() if not kind.model_fields["name"].is_required()
        ]
        given = values.get(key)
        if usual and isinstance(given, dict) and "name" not in given:
            named[key] = {"name": usual[0], **given}
    return named


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
