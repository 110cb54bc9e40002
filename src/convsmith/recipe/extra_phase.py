"""A second, short training after a recipe's own: more epochs for a run that is finished."""

from __future__ import annotations

from convsmith.errors import ConvsmithError
from convsmith.recipe.make_plan import base_lr
from convsmith.recipe.optimization import ExtraPhase, OneCycle
from convsmith.recipe.schema import Recipe

_SHARE = 0.1  # of the highest rate: enough to move on, too little to lose what was learned


def extra_rate(recipe: Recipe) -> float:
    """The learning rate that an extra phase starts from: a tenth of the highest, but not below the lowest."""
    return max(float(f"{_SHARE * base_lr(recipe):.3g}"), getattr(recipe.schedule, "min_lr", 0.0))


def with_extra_phase(recipe: Recipe, epochs: int) -> Recipe:
    """Give a recipe an extra phase of so many epochs, from `extra_rate` down as its own schedule goes.

    Raises:
        ConvsmithError: its schedule can have none, or has one.
    """
    if isinstance(recipe.schedule, OneCycle) or not recipe.schedule.epochs or recipe.schedule.extra is not None:
        why = "it has one already" if getattr(recipe.schedule, "extra", None) else "one cycle, or no epoch, has none"
        raise ConvsmithError(
            "the schedule cannot be extended by another phase",
            why,
            "Start a new run from its best weights, with --finetune RUN and another --out.",
        )
    extra = ExtraPhase(epochs=epochs, lr=extra_rate(recipe))
    return recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update={"extra": extra})})
