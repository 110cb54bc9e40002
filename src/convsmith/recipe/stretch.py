"""A recipe for another number of epochs: all that counts epochs keeps its share of the run."""

from __future__ import annotations

from convsmith.recipe.optimization import Exponential, MultiStep, OneCycle, Step
from convsmith.recipe.schema import Recipe
from convsmith.recipe.yaml_text import write_yaml


def stretch(recipe: Recipe, epochs: int) -> tuple[str, ...]:
    """Words that give a recipe so many epochs, with a schedule that decays as far as its own does.

    Steps, milestones and an exponential decay move in proportion. A warmup, frozen epochs and the epochs without mixing
    shrink with a shorter run, and stay as they are in a longer one.

    Args:
        recipe: with at least one epoch.
        epochs: at least 1, an extra phase not counted.

    Returns:
        `key=value` words for what is not as in the recipe.
    """
    schedule = recipe.schedule
    share = epochs / schedule.epochs
    shorter = min(share, 1.0)
    keys: dict[str, object] = {"schedule.epochs": epochs}
    if not isinstance(schedule, OneCycle):
        keys["schedule.warmup_epochs"] = _short(schedule.warmup_epochs * shorter)
        if schedule.warmup_steps is not None:
            keys["schedule.warmup_steps"] = max(1, int(schedule.warmup_steps * shorter))
    match schedule:
        case Step():
            keys["schedule.every_epochs"] = _short(schedule.every_epochs * share)
        case MultiStep():
            keys["schedule.milestones"] = [_short(milestone * share) for milestone in schedule.milestones]
        case Exponential():
            keys["schedule.gamma"] = schedule.gamma ** (1 / share)
    if recipe.mixing:
        keys["mixing.off_epochs"] = int(recipe.mixing.off_epochs * shorter)
    if recipe.freeze and recipe.freeze.epochs is not None:
        frozen = int(recipe.freeze.epochs * shorter)
        keys |= {"freeze.epochs": frozen} if frozen else {"freeze": None}
    values = recipe.model_dump(mode="json")
    return tuple(f"{key}={write_yaml(value)}" for key, value in keys.items() if value != _find(values, key))


def _short(epochs: float) -> float:
    return float(f"{epochs:.4g}")


def _find(values: object, key: str) -> object:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
