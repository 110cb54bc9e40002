"""The recipe that was chosen for a run: chosen once, and kept in the run's directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convsmith.analyze.choose_recipe import Choice, choose_recipe
from convsmith.data.outputs import refuse_output_in_data
from convsmith.machine import runs_folder
from convsmith.storage import write_file
from convsmith.training.run import Run

_FILE = "chosen.json"


@dataclass(frozen=True)
class _Request:
    """A choice as a user asks for it.

    Attributes:
        data: the absolute path of the images.
        overrides: what the user changes besides, as `key=value` words.
        recipe: the name or path of the one that the user chose.
    """

    data: str
    overrides: tuple[str, ...]
    recipe: str | None


def run_directory(data: Path) -> Path:
    """Where a training on some data goes that names no directory: `runs/NAME`, below the folder of runs."""
    place = data.resolve()
    return runs_folder() / (place.name if place.is_dir() else place.stem)


def choose_for_run(data: Path, out: Path, overrides: Sequence[str] = (), recipe: str | None = None) -> Choice:
    """Choose a recipe, or give the choice that the run in `out` began with.

    What the choice rests on may have changed since, such as whether weights can be downloaded: a run goes on with its
    own recipe all the same.

    Args:
        data: the images.
        out: the run's directory; the choice is kept there.
        overrides: what will be changed besides, see `choose_recipe`.
        recipe: name or path of a recipe, where the user has chosen it.

    Raises:
        ConvsmithError: the data cannot be learned from, or `out` lies among them or cannot be written.
    """
    run, request = Run(out), _Request(str(data.resolve()), tuple(overrides), recipe)
    known = _read(out)
    if known is not None and (run.has_begun or known[0] == request):
        return known[1]
    refuse_output_in_data(out, data)
    choice = Choice(recipe, (), ()) if recipe is not None else choose_recipe(data, overrides)
    if not run.has_begun:  # else it is one of another recipe, as the training will say
        run.make()
        write_file(out / _FILE, json.dumps({"request": asdict(request), "choice": asdict(choice)}) + "\n")
    return choice


def _read(out: Path) -> tuple[_Request, Choice] | None:
    """The request and the choice; None where there was none, or they cannot be read any more."""
    try:
        said: dict[str, dict[str, Any]] = json.loads((out / _FILE).read_text())
        request, choice = said["request"], said["choice"]
        return (
            _Request(request["data"], tuple(request["overrides"]), request["recipe"]),
            Choice(choice["recipe"], tuple(choice["overrides"]), tuple(choice["reasons"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
