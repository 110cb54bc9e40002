"""A ladder: recipes in a row, of which each adds something to the one before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.recipe.layers import is_path
from convsmith.recipe.load import Resolved, resolve
from convsmith.recipe.packaged import packaged
from convsmith.recipe.schema import Recipe
from convsmith.recipe.yaml_text import MAX_BYTES, read_yaml
from convsmith.spec import Section


class LadderFile(Section):
    """The content of a ladder's file."""

    description: str = Field(description="One line: what the ladder is for.")
    steps: Annotated[tuple[str, ...], Field(min_length=2)] = Field(
        description="At least two recipes, the start first: names of packaged ones, or paths relative to this file."
    )


@dataclass(frozen=True)
class Rung:
    """One recipe of a ladder.

    Attributes:
        name: the recipe's name, or that of its file without .yaml.
        source: the recipe's name, or the path of its file; see `load_recipe`.
        recipe: the recipe, with the changes that all steps share.
        changes: what it says otherwise than the step before, by dotted path; empty for the first.
    """

    name: str
    source: str
    recipe: Recipe
    changes: dict[str, Any]

    def runs(self, out: Path) -> list[tuple[Path, Recipe]]:
        """The folder and the recipe of each run below `out`: one, or one for each fold where the recipe names none."""
        data = self.recipe.data
        if data.folds is None or data.fold is not None:
            return [(out / self.name, self.recipe)]
        folds = [data.model_copy(update={"fold": fold}) for fold in range(data.folds)]
        recipes = [self.recipe.model_copy(update={"data": fold}) for fold in folds]
        return [(out / self.name / f"fold-{number}", recipe) for number, recipe in enumerate(recipes)]


@dataclass(frozen=True)
class Ladder:
    """A ladder with all its recipes read and checked; `name` is that of its file without .yaml."""

    name: str
    description: str
    steps: tuple[Rung, ...]


def is_ladder(source: str) -> bool:
    """Whether it names a ladder. A recipe of the same name counts first, and what is not there is none."""
    if not is_path(source):
        return source in packaged("ladders").keys() - packaged().keys()
    if not Path(source).is_file():
        return False
    name, data, _ = _read(source)
    content, _ = read_yaml(data, name)
    return isinstance(content, dict) and "steps" in content


def load_ladder(source: str | Path, overrides: Sequence[str] = ()) -> Ladder:
    """Read and check a ladder.

    Args:
        source: the name of a packaged ladder, or the path of a YAML file (its name ends in .yaml or has a `/`); or a
            recipe, as the only step. A ladder of the same name counts first.
        overrides: changes to the recipe of every step, words such as `schedule.epochs=2`.

    Raises:
        ConvsmithError: there is no such ladder, or it or one of its recipes says what it cannot.
    """
    if not is_path(source) and str(source) in packaged().keys() - packaged("ladders").keys():
        return _of_one(str(source), overrides)
    name, data, folder = _read(source)
    content, lines = read_yaml(data, name)
    if isinstance(content, dict) and "steps" not in content and {"extends", "model"} & content.keys():
        return _of_one(str(source), overrides)
    if not isinstance(content, dict):
        raise ConvsmithError(f"{name} is not a ladder", "a ladder is a mapping with `description` and `steps`")
    try:
        ladder = LadderFile.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise ConvsmithError("\n  ".join(_problems(error, name, lines))) from error
    where = f"{name}:{lines['steps']}"
    steps: list[Rung] = []
    before: Resolved | None = None
    for reference in ladder.steps:
        place = str(folder / reference) if is_path(reference) else reference
        try:
            resolved = resolve(place, overrides)
        except ConvsmithError as error:
            raise ConvsmithError(f"{where}: {error.what}", error.why, error.fix) from error
        step = Rung(Path(reference).stem, place, resolved.recipe, _changes(before, resolved) if before else {})
        if step.name in [earlier.name for earlier in steps]:
            raise ConvsmithError(f"{where}: two steps are called `{step.name}`", fix="Rename one file, or remove one.")
        steps.append(step)
        before = resolved
    return Ladder(Path(name).stem, ladder.description, tuple(steps))


def _of_one(source: str, overrides: Sequence[str]) -> Ladder:
    """A recipe as the only step."""
    name, recipe = Path(source).stem, resolve(source, overrides).recipe
    return Ladder(name, recipe.description, (Rung(name, source, recipe, {}),))


def _read(source: str | Path) -> tuple[str, bytes, Path]:
    """Name and content of a ladder's file, and what paths in it are relative to."""
    if is_path(source):
        path = Path(source)
        try:
            with path.open("rb") as file:
                return str(path), file.read(MAX_BYTES + 1), path.parent
        except OSError as error:
            raise ConvsmithError(f"the ladder {path} cannot be read", error.strerror or str(error)) from error
    ladders, name = packaged("ladders"), str(source)
    if name not in ladders:
        raise ConvsmithError(
            f"`{name}` is not a packaged ladder{did_you_mean(name, ladders)}",
            fix=f"There are {' and '.join(ladders)}; the name of a file of your own ends in .yaml.",
        )
    return name, ladders[name].read_bytes(), Path()


def _problems(error: ValidationError, name: str, lines: Mapping[str, int]) -> list[str]:
    """Each problem of a ladder's file, with its line where it has one."""
    problems = []
    for problem in error.errors(include_url=False):
        key, *index = map(str, problem["loc"])
        path = key + "".join(f"[{item}]" for item in index)
        match problem["type"]:
            case "extra_forbidden":
                known = LadderFile.model_fields
                meant = did_you_mean(key, known) or f"; a ladder has {', '.join(known)}"
                text = f"unknown key `{path}`{meant}"
            case "missing":
                text = f"`{path}` is missing: {LadderFile.model_fields[key].description}"
            case "string_type":
                text = f"`{path}` must be text"
            case _:
                text = f"`{path}` must be a list of at least two recipes"
        problems.append(f"{name}:{lines[key]}: {text}" if key in lines else f"{name}: {text}")
    return problems


def _changes(before: Resolved, after: Resolved) -> dict[str, Any]:
    """The keys that `after` says, defaults left out, and that are otherwise in `before`."""
    old, new = _leaves(before), _leaves(after)
    said = [path for path, origin in after.origins.items() if origin != "default"]
    told = ("description", "source")
    return {path: new[path] for path in said if path not in told and (path not in old or old[path] != new[path])}


def _leaves(resolved: Resolved) -> dict[str, Any]:
    return {path: reduce(getitem, path.split("."), resolved.values) for path in resolved.origins}
