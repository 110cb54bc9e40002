"""Which of a run's weights count: for its bundle, and for another training that starts from them."""

from __future__ import annotations

import json
from pathlib import Path

from convsmith.bundle.format import MANIFEST, holds_run
from convsmith.errors import ConvsmithError
from convsmith.models.weights.published import SUFFIXES
from convsmith.recipe.schema import Recipe
from convsmith.storage import sha256_of
from convsmith.training.checkpoints.checkpoint import best_step_folder
from convsmith.training.run import Run
from convsmith.waiting import read_file


def judged_weights(recipe: Recipe, step: Path) -> str:
    """Which file of a step of a run's checkpoints is judged and shipped: `ema` or `model`.

    Where both are judged, it is the better of its validation, and the average before there was one.
    """
    if recipe.ema is None:
        return "model"
    if recipe.ema.judge != "both":
        return recipe.ema.judge
    try:
        return str(json.loads(read_file(step / "state.json"))["judged"] or "ema")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # who reads the weights says what is wrong
        return "ema"


def weights_of_run(place: Path, key: str) -> Path:
    """The weights file of a run directory's best step, or of one step of its checkpoints.

    Args:
        place: the run directory, or the step's.
        key: `model` or `ema`; `auto` takes what the run judges.

    Raises:
        ConvsmithError: there is no such file.
    """
    is_step = (place / "state.json").is_file()
    run = Run(place.absolute().parents[1] if is_step else place)
    step = place if is_step else best_step_folder(run.checkpoints)
    if key == "auto":
        key = judged_weights(run.recipe, step) if holds_run(run.path) else "model"
    file = step / f"{key}.safetensors"
    if key == "ema" and not file.is_file() and (step / "model.safetensors").is_file():
        raise ConvsmithError(f"there are no weights {file}", "this run has no ema", "Set model.weights_key=model.")
    if not file.is_file():
        raise _no_weights(place, file)
    return file


def _no_weights(place: Path, file: Path) -> ConvsmithError:
    """Error about a directory that is neither a run nor a step of one."""
    run = Run(place.absolute().parent)
    if (place / MANIFEST).is_file():
        of_run = run.bundle == place.absolute() and run.checkpoints.is_dir()
        return ConvsmithError(
            f"{place} is a bundle",
            "it is made to answer, and holds no weights to train from",
            f"Name its run: {place.parent}" if of_run else "Name the run that it is from, or a checkpoint file.",
        )
    inside = sorted(it for it in place.iterdir() if it.suffix in SUFFIXES and it.is_file())
    if inside:
        return ConvsmithError(f"{place} is a folder", fix=f"Name the file in it: {' or '.join(map(str, inside[:3]))}")
    return ConvsmithError(
        f"there are no weights {file}",
        f"{place} is neither the directory of a run that has ended an epoch, nor a step of its checkpoints",
        "Name a checkpoint file, such a directory, or published weights.",
    )


def start_digest(recipe: Recipe) -> str | None:
    """SHA-256 of the file a training starts from; None where there is none, its name says enough, or it is gone."""
    place = Path(recipe.model.weights or "")
    if recipe.model.weights and place.is_dir():
        try:
            place = weights_of_run(place, recipe.model.weights_key)
        except ConvsmithError:  # which is for who needs them to say
            return None
    return sha256_of(place) if place.is_file() else None
