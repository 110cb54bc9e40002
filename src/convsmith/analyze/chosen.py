"""The recipe that was chosen for a run: chosen once, and kept in the run's directory."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convsmith.analyze.choice import CHOSEN, Choice, known_choice
from convsmith.analyze.choose_recipe import choose_recipe
from convsmith.data.folders.outputs import refuse_output_in_data
from convsmith.errors import ConvsmithError
from convsmith.machine import runs_folder
from convsmith.storage import write_file
from convsmith.training.run import Run
from convsmith.waiting import read_file


@dataclass(frozen=True)
class _Request:
    """A choice as a user asks for it.

    Attributes:
        data: the absolute path of the images.
        overrides: what the user changes besides, as `key=value` words.
        recipe: the name or path of the one that the user chose.
        minutes: the time that it may take.
    """

    data: str
    overrides: tuple[str, ...]
    recipe: str | None
    minutes: float | None


def run_directory(data: Path) -> Path:
    """Where a training on some data goes that names no directory: `runs/NAME`, below the folder of runs."""
    place = data.resolve()
    if place.exists():
        return runs_folder() / (place.name if place.is_dir() else place.stem)
    return runs_folder() / (re.split(r"[{*?\[]", place.stem)[0].strip("-_. ") or place.parent.name)  # of a pattern


def choose_for_run(
    data: Path,
    out: Path,
    overrides: Sequence[str] = (),
    recipe: str | None = None,
    minutes: float | None = None,
    *,
    all_stages: bool = False,
) -> Choice:
    """Choose a recipe, or give the choice that the run in `out` began with.

    What the choice rests on may have changed since, such as whether weights can be downloaded: a run goes on with its
    own recipe all the same.

    Args:
        data: the images.
        out: the run's directory; the choice is kept there.
        overrides: what will be changed besides, see `choose_recipe`.
        recipe: name or path of a recipe, where the user has chosen it.
        minutes: change the recipe so that it ends in them, see `fit_to_time`.
        all_stages: likewise.

    Raises:
        ConvsmithError: the data cannot be learned from, `out` lies among them or cannot be written, or the run there
            began with another time.
    """
    run, request = Run(out), _Request(str(data.resolve()), tuple(overrides), recipe, minutes)
    known = _read(out)
    if run.has_begun:
        planned = None if known is None else known[0].minutes
        if minutes not in (None, planned):
            raise ConvsmithError(
                f"{out} holds a run that was not planned for {minutes:g} minutes",
                "its schedule cannot be changed any more",
                f"{'Leave out --minutes' if planned is None else f'Give --minutes {planned:g}'} to go on with it, or "
                "choose another directory with --out.",
            )
    if known is not None and (run.has_begun or known[0] == request):
        return known[1]
    refuse_output_in_data(out, data)
    choice = Choice(recipe, (), ()) if recipe is not None else choose_recipe(data, overrides)
    if not run.has_begun:  # else it is one of another recipe, as the training will say
        run.make()
        if minutes is not None:
            from convsmith.analyze.fit_to_time import fit_to_time  # torch, which a mere choice does not need

            choice = fit_to_time(choice, data, out, overrides, minutes, all_stages=all_stages)
        write_file(out / CHOSEN, json.dumps({"request": asdict(request), "choice": asdict(choice)}) + "\n")
    return choice


def _read(out: Path) -> tuple[_Request, Choice] | None:
    """The request and the choice; None where there was none, or they cannot be read any more."""
    choice = known_choice(out)
    if choice is None:
        return None
    try:
        request: dict[str, Any] = json.loads(read_file(out / CHOSEN))["request"]
        asked = _Request(request["data"], tuple(request["overrides"]), request["recipe"], request.get("minutes"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return asked, choice
