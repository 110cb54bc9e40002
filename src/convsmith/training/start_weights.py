"""Weights that a training starts from."""

from __future__ import annotations

import logging
from pathlib import Path

from convsmith.errors import ConvsmithError
from convsmith.models.base import VisionModel
from convsmith.models.published import resolve
from convsmith.models.weights import load_weights
from convsmith.recipe.schema import Recipe
from convsmith.training.run import Run

logger = logging.getLogger(__name__)


def load_start_weights(model: VisionModel, name: str, source: str, key: str) -> None:
    """Load weights into a new model; a head for other classes stays as it is, and the log says so.

    Args:
        model: receives them, in place.
        name: what the model is called.
        source: published weights, a checkpoint file, a run directory, which stands for its best step, or one step of
            its checkpoints.
        key: entry of the file that holds them; of a run `model` or `ema`, where `auto` takes what the run judges.

    Raises:
        ConvsmithError: they cannot be had or do not fit.
    """
    place = Path(source)
    if place.is_dir():
        report = load_weights(model, _file_of_run(place, key))
    else:
        report = load_weights(model, resolve(source, name), key)
    logger.info("weights of %s: %s", source, report)


def judged_weights(recipe: Recipe) -> str:
    """Which file of a checkpoint is evaluated and shipped: `ema` or `model`."""
    return "ema" if recipe.ema is not None and recipe.ema.judged else "model"


def _file_of_run(place: Path, key: str) -> Path:
    """The weights of a run directory's best step, or of the step that is named."""
    is_step = (place / "state.json").is_file()
    run = Run(place.absolute().parents[1] if is_step else place)
    step = place if is_step else run.checkpoints / "best"
    if key == "auto":
        key = judged_weights(run.recipe) if (run.path / "recipe.yaml").is_file() else "model"
    file = step / f"{key}.safetensors"
    if not file.is_file():
        raise ConvsmithError(
            f"there are no weights {file}",
            f"{place} is neither the directory of a run that has ended an epoch, nor a step of its checkpoints",
            "Name a checkpoint file, such a directory, or published weights.",
        )
    return file
