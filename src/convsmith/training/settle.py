"""Settings that a recipe leaves to the weights it starts from: their name, and how images are prepared for them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from convsmith.bundle.format import holds_run
from convsmith.models.registry import backbone_of, named_weights
from convsmith.models.weights.origin import Origin, origin_of
from convsmith.recipe.load import recipe_of
from convsmith.recipe.schema import Recipe
from convsmith.recipe.yaml_text import write_yaml
from convsmith.spec import Preprocess
from convsmith.training.run import SAY_GROUPS, Run, differences

logger = logging.getLogger(__name__)


def settled(recipe: Recipe, begun: Recipe | None = None) -> Recipe:
    """The recipe with the name that `pretrained` stands for, and with the preprocessing of its weights.

    What the recipe says together with the weights, or after them, stays. The log says what was taken.

    Args:
        recipe: what to train.
        begun: the recipe of a run that is to go on. If it is the same one before the weights are asked, it stays so.

    Raises:
        ConvsmithError: no weights of its model are published, or the library that has them is missing.
    """
    if begun and recipe.mean_is_open and begun.bands == recipe.bands:  # measured when the run began
        recipe = recipe.with_mean(begun.preprocess.mean, begun.preprocess.std)
    if recipe.model.weights is None:
        return recipe
    left = recipe.left_to_weights
    named = named_weights(recipe.model.weights, recipe.model.name)
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"weights": named})})
    recipe._left_to_weights = frozenset()  # it is settled now
    if not left or (begun and _goes_on(begun, recipe)):
        return recipe
    origin = _images_of(recipe)
    taken = _taken(recipe, origin, left) if origin else {}
    if not taken:
        return recipe
    words = [f"{key}={write_yaml(value)}" for key, value in taken.items()]
    how = "as" if origin and not origin.is_nearest else "nearest to how"
    logger.warning("%s the weights %s were trained: %s", how, origin and origin.name, " ".join(words))
    return recipe_of(recipe.model_dump(mode="json"), "recipe", words)


def weights_origin(recipe: Recipe) -> Origin | None:
    """Facts about the weights that a training of the recipe starts from; of a run's, those that it started from.

    Raises:
        ConvsmithError: the library that has them is missing.
    """
    seen = set[Path]()
    while (run := _run_of(recipe)) and run.path not in seen:
        seen.add(run.path)
        recipe = run.recipe
    return origin_of(recipe.model.weights, backbone_of(recipe.model.name) or recipe.model.name)


def _images_of(recipe: Recipe) -> Origin | None:
    """Facts about the images that the weights were trained on; of a run, how it normalised them."""
    run = _run_of(recipe)
    if run is None:
        return weights_origin(recipe)
    seen = run.recipe.preprocess
    return Origin(str(run.path), None, seen.mean, seen.std, None)


def _run_of(recipe: Recipe) -> Run | None:
    """The run that the weights are of, which may be named by one of its steps; None where they are of none."""
    place = Path(recipe.model.weights or "").absolute()
    run = Run(place.parents[1] if (place / "state.json").is_file() else place)
    return run if recipe.model.weights and holds_run(run.path) else None


def _goes_on(begun: Recipe, recipe: Recipe) -> bool:
    """Whether a run was begun with the recipe as it is."""
    changed = differences(begun.model_dump(mode="json"), recipe.model_dump(mode="json"))
    return set(changed) <= {"model.num_classes", *SAY_GROUPS}  # the first is the data's by then


def _taken(recipe: Recipe, origin: Origin, left: frozenset[str]) -> dict[str, Any]:
    """Those keys in `left` whose value is another than the weights were trained with, each with that."""
    now, rule = recipe.preprocess, origin.preprocessing
    wanted: dict[str, Any] = {"mean": origin.mean, "std": origin.std}
    sizes: dict[str, int] = {}
    if rule and isinstance(now, Preprocess):
        wanted |= rule.model_dump()
        if "preprocess.crop" in left:
            sizes = _training_sizes(recipe, rule.crop)
        else:  # another square, cut out of as much around it
            wanted["resize"] = now.crop * rule.resize // rule.crop
    changes = {f"preprocess.{key}": value for key, value in wanted.items() if getattr(now, key) != value}
    own = {"range"} if recipe.data.channels == 3 else {"range", "mean", "std"}  # which the images decide
    left = left - {f"preprocess.{key}" for key in own}
    return {key: value for key, value in (changes | sizes).items() if key in left}


def _training_sizes(recipe: Recipe, side: int) -> dict[str, int]:
    """The key that makes training images squares of that side, if they are not."""
    crops = {name: it for name, it in recipe.augment if name.endswith("_crop") and it is not None}
    return {f"augment.{name}.size": side for name, it in crops.items() if it.size != side}
