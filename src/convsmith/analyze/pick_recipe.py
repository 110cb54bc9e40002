"""From the table of recipes to one of them: by the number of images, the device, and the weights that can be had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convsmith.analyze.choice import Choice
from convsmith.analyze.recipe_table import RecipeRow, row_for
from convsmith.bundle.format import holds_run
from convsmith.errors import ConvsmithError
from convsmith.models.registry import backbone_of, fetch_weights, named_weights
from convsmith.models.weights.origin import origin_of
from convsmith.models.weights.published import PRETRAINED, list_weights
from convsmith.models.weights.published import weights as published
from convsmith.recipe.layers import COMMAND_LINE
from convsmith.recipe.load import load_recipe, resolve
from convsmith.recipe.model import Model
from convsmith.recipe.yaml_text import write_yaml
from convsmith.training.precision import pick_device
from convsmith.training.run import Run

_OF_A_FILE = "resnet18"
"""The model that a checkpoint is taken to be of where nothing says it."""


def pick_recipe(table: Sequence[RecipeRow], images: int, overrides: Sequence[str]) -> Choice:
    """The first recipe of the row for so many images and this device whose weights can be had; else that without.

    Weights are downloaded where they are not here yet.

    Args:
        table: the rows.
        images: how many there are to learn from.
        overrides: what the user changes besides, as `key=value` words, of which those of the model count.

    Raises:
        ConvsmithError: these say what a recipe cannot say.
    """
    row = row_for(table, images)
    reasons = [f"{_bound(table, row)} images: {row.why}"]
    own = [word for word in overrides if word.startswith(("model.", "model="))]
    said = _said(row, own)
    if said.get("weights", "") is None:
        return _without_weights(row, [*reasons, "from random weights, as model.weights=null says"])
    has_gpu = pick_device().type != "cpu"
    lines, words = row.gpu if has_gpu else row.cpu, tuple[str, ...]()
    if said:
        name, words = _model_for(said)
        models = {line: load_recipe(line.split()[0]).model.name for line in (*row.cpu, *row.gpu)}
        decoders = tuple(line for line, model in models.items() if backbone_of(model) == name)
        lines = tuple(line for line, model in models.items() if model == name) or decoders or lines
        words = () if decoders else words
    missing: list[str] = []
    for line in lines:
        recipe, *changes = line.split()
        model = load_recipe(recipe, [*changes, *words, *own]).model
        if error := why_no_weights(model):
            called = f"{model.name}, by {recipe}" if said else recipe
            missing.append(f"{called}: {error.on_command_line}".replace("\n", ". "))
            continue
        kind = "a GPU: a strong network" if has_gpu else "no GPU: a network that learns fast on a CPU"
        reasons.append(f"the model that was asked for, by {recipe}" if said else f"{kind}, by {recipe}")
        reasons += [f"the choice would have been {why}" for why in missing[:1]]
        return Choice(recipe, (*changes, *words), (*reasons, f"it starts from {_start(model)}"))
    return _without_weights(row, [*reasons, f"from random weights, in place of {missing[0]}"])


def why_no_weights(model: Model) -> ConvsmithError | None:
    """Why the weights that a model starts from are not on this machine; None once they are, or it starts from none."""
    try:
        if model.weights is not None:
            fetch_weights(model.weights, model.name)
    except ConvsmithError as error:
        return error
    return None


def _bound(table: Sequence[RecipeRow], row: RecipeRow) -> str:
    return f"fewer than {row.below:,}" if row is not table[-1] else f"{table[-2].below:,} or more"


def _without_weights(row: RecipeRow, reasons: Sequence[str]) -> Choice:
    recipe, *words = row.scratch.split()
    return Choice(recipe, tuple(words), tuple(reasons))


def _said(row: RecipeRow, own: Sequence[str]) -> dict[str, Any]:
    """Those of the model's name and weights that the user's words say."""
    resolved = resolve(row.scratch.split()[0], own)
    keys = ("name", "weights")
    return {key: resolved.values["model"][key] for key in keys if resolved.origins[f"model.{key}"] == COMMAND_LINE}


def _model_for(said: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The model that the user's words mean, and words for what they leave open."""
    if "name" in said:
        return said["name"], () if "weights" in said else (f"model.weights={PRETRAINED}",)
    weights = said["weights"]
    if weights in list_weights():
        name = published(weights).model
        return name, (f"model.name={name}",)
    run = Run(Path(weights))
    if not holds_run(run.path):
        return _OF_A_FILE, ()
    model = run.recipe.model
    return model.name, (f"model.name={model.name}", f"model.options={write_yaml(model.options)}")


def _start(model: Model) -> str:
    """Name and licence of the weights, where they have any."""
    assert model.weights is not None
    named = named_weights(model.weights, model.name)
    origin = origin_of(named, backbone_of(model.name) or model.name)
    return f"{origin.name} ({origin.licence or 'its licence is not said'})" if origin else named
