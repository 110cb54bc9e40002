"""From a name or a file, and overrides, to a checked recipe; and back to YAML."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from convsmith.recipe.idle import refuse_idle
from convsmith.recipe.layers import COMMAND_LINE, Layer, file_layers, is_path, merge, override_layer
from convsmith.recipe.problems import kind_key, kinds_of, sections_of, validate
from convsmith.recipe.schema import Recipe
from convsmith.recipe.task_fit import rules_of
from convsmith.recipe.tasks import list_tasks
from convsmith.recipe.yaml_text import write_yaml
from convsmith.spec import Section

logger = logging.getLogger(__name__)


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


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        source: one of `list_recipes()`, or the path of a YAML file (its name ends in .yaml or has a `/`).
        overrides: words such as `optimizer.lr=0.2`; the value is YAML.

    Raises:
        ConvsmithError: there is no such recipe, it is not YAML, or it says what a recipe cannot say. All problems
            are named, each with the file and line that it came from.

    Examples:
        >>> recipe = cs.load_recipe("resnet50-in1k", ["schedule.epochs=10", "optimizer.lr=0.2"])
        >>> recipe.schedule.epochs, recipe.optimizer.lr
        (10, 0.2)
    """
    return resolve(source, overrides).recipe


def as_recipe(recipe: Recipe | str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe itself, or the one of that name or path, with changes.

    Args:
        recipe: what `load_recipe` takes, or one that is checked.
        overrides: as for `load_recipe`.

    Raises:
        ConvsmithError: as `load_recipe` does.
    """
    if not isinstance(recipe, Recipe):
        return load_recipe(recipe, overrides)
    if not overrides:
        return recipe
    layers = [_layer(recipe.model_dump(mode="json"), "recipe"), override_layer(overrides)]
    changed = _resolve(layers).recipe
    changed._left_to_weights = _left_to_weights(changed, layers) | (recipe.left_to_weights - set(layers[1].origins))
    return changed


def name_of(recipe: Recipe | str | Path) -> str:
    """The name of a recipe without folder and ending, as what is made of it is called; without one, its model's."""
    return recipe.model.name.replace("/", "-") if isinstance(recipe, Recipe) else Path(recipe).stem


def recipe_of(values: Mapping[str, Any], name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Check a recipe that is not a file.

    Args:
        values: what it says, plain values as in YAML.
        name: what they are, for messages.
        overrides: as for `load_recipe`.

    Raises:
        ConvsmithError: it says what a recipe cannot say.
    """
    return _resolve([_layer(values, name), override_layer(overrides)]).recipe


def _layer(values: Mapping[str, Any], name: str) -> Layer:
    return Layer(name, dict(values), dict.fromkeys((path for path, _ in _walk(values)), name))


def resolve(source: str | Path, overrides: Sequence[str] = ()) -> Resolved:
    """`load_recipe`, with where each value came from."""
    layers = [*file_layers(source), override_layer(overrides)]
    resolved = _resolve(layers)
    resolved.recipe._left_to_weights = _left_to_weights(resolved.recipe, layers)
    return resolved


def _left_to_weights(recipe: Recipe, layers: Sequence[Layer]) -> frozenset[str]:
    """Keys of preprocessing that say nothing of the recipe's weights, for a later layer named those, or their model.

    All packaged files of a chain are one layer: they were written together.
    """
    last: dict[str, int] = {}
    for number, layer in enumerate(layers):
        last |= dict.fromkeys(layer.origins, number if is_path(layer.name) or layer.name == COMMAND_LINE else 0)
    named = max(last.get("model.weights", 0), last.get("model.name", 0))
    preprocess = (f"preprocess.{key}" for key in type(recipe.preprocess).model_fields)
    sizes = (f"augment.{name}.size" for name in type(recipe.augment).model_fields if name.endswith("_crop"))
    return frozenset(key for key in (*preprocess, *sizes) if recipe.model.weights and last.get(key, 0) < named)


def _resolve(layers: Sequence[Layer]) -> Resolved:
    given: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        inherited, given = given, merge(_without_other_kinds(given, layer.values), layer.values)
        origins |= layer.origins
        _shorten(given, inherited, layer.values)
    origins = {path: origins[path] for path, _ in _walk(given)}  # less what a later layer threw out

    def origin(path: str) -> str:
        """Place of a value, of the list of an item, or of the section that lacks a key."""
        while path and path not in origins:
            path = path.rpartition("[" if path.endswith("]") else ".")[0]
        return origins.get(path, layers[-2].name)

    recipe = validate(_with_usual_kinds(given), origin)
    refuse_idle(recipe, origins)
    values = recipe.model_dump(mode="json")
    leaves = [path for path, value in _walk(values) if not (isinstance(value, dict) and value)]
    return Resolved(recipe, values, {path: origins.get(path, "default") for path in leaves})


def _shorten(given: dict[str, Any], inherited: Mapping[str, Any], layer: Mapping[str, Any]) -> None:
    """Keep a warmup's and frozen epochs' share of a run that a layer makes too short, as one does for a first try."""
    now, before, changed = (it.get("schedule") for it in (given, inherited, layer))
    if not (isinstance(now, dict) and isinstance(before, dict) and isinstance(changed, dict)):
        return
    epochs, usual = changed.get("epochs"), before.get("epochs")
    if not (_is_positive(epochs) and _is_positive(usual)):
        return
    frozen, warmup = given.get("freeze"), now.get("warmup_epochs")
    if "freeze" not in layer and isinstance(frozen, dict) and _is_too_long(frozen.get("epochs"), epochs, usual):
        share = int(frozen["epochs"] * epochs / usual)
        given["freeze"] = {**frozen, "epochs": share} if share else None
        _warn(f"freeze.epochs is {share}" if share else "freeze is null", frozen["epochs"], epochs, usual)
    if "warmup_epochs" not in changed and _is_too_long(warmup, epochs, usual):
        now["warmup_epochs"] = float(f"{warmup * epochs / usual:.3g}")
        _warn(f"schedule.warmup_epochs is {now['warmup_epochs']:g}", warmup, epochs, usual)


def _is_positive(number: Any) -> TypeGuard[float]:
    return isinstance(number, int | float) and number > 0


def _is_too_long(first: Any, epochs: float, usual: float) -> TypeGuard[float]:
    """Whether so many first epochs fit into the usual run and not into this one."""
    return _is_positive(first) and epochs <= first < usual


def _warn(change: str, before: float, epochs: float, usual: float) -> None:
    logger.warning("%s instead of %g, because schedule.epochs is %g instead of %g", change, before, epochs, usual)


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
    """The part of a section that a child inherits: where its kind changes, only what means the same in both kinds.

    These are the keys that both take from one base, such as the epochs of any schedule. Nothing of an optimizer
    stays: the learning rate of one would ruin a run with another.
    """
    kept = dict(given)
    for key, field in section.model_fields.items():
        old, new = given.get(key), child.get(key)
        if not isinstance(old, dict) or not isinstance(new, dict):
            continue
        kinds = kinds_of(field.annotation)
        if not kinds:
            for below in sections_of(field.annotation):
                kept[key] = _without_other_kinds(old, new, below)
            continue
        tag = kind_key(kinds.values())
        name = old.get(tag, _usual_kind(kinds))
        if name is None or new.get(tag, name) == name:
            continue
        before, after = (kinds.get(word) if isinstance(word, str) else None for word in (name, new[tag]))
        if before is after:
            continue
        shared = _shared_keys(before, after) if before and after and key != "optimizer" else set()
        kept[key] = {word: value for word, value in old.items() if word in shared}
    return kept


def _shared_keys(before: type[Section], after: type[Section]) -> set[str]:
    base = next(it for it in before.__mro__ if issubclass(after, it))
    assert issubclass(base, Section)  # the base of all
    kinds = (before.model_fields, after.model_fields)
    return {key for key in base.model_fields if kinds[0][key].annotation == kinds[1][key].annotation}


def _usual_kind(kinds: Mapping[str, type[Section]]) -> str | None:
    """The kind that a section is which does not say it."""
    key = kind_key(kinds.values())
    fields = [kind.model_fields[key] for kind in kinds.values()]
    return next((field.default for field in fields if not field.is_required()), None)


def _with_usual_kinds(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with its kind in each section that leaves it out, where one kind is the usual one.

    So with the metric and the loss, whose usual ones are the task's.
    """
    task = values.get("task", Recipe.model_fields["task"].default)
    rules = rules_of(task) if task in list_tasks() else None
    named = {"metric": rules.METRICS[0], "loss": {}, **values} if rules else dict(values)
    for key, field in Recipe.model_fields.items():
        kinds, given = kinds_of(field.annotation), named.get(key)
        usual, tag = rules.LOSS if rules and key == "loss" else _usual_kind(kinds), kind_key(kinds.values())
        if usual and isinstance(given, dict) and tag not in given:
            named[key] = {tag: usual, **given}
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
