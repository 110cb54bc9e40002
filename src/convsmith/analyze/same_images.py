"""Models that are measured side by side look alike at the same images."""

from __future__ import annotations

from convsmith.errors import ConvsmithError
from convsmith.recipe.schema import Recipe
from convsmith.training.run import differences

_LOOKING = ("preprocess.", "data.val_fraction", "data.fold", "data.pattern", "data.columns", "data.masks")


def check_same_images(recipe: Recipe, first: Recipe) -> None:
    """Refuse a recipe for a model to measure beside a first one whose images it would not see, or not so.

    Args:
        recipe: of the model that is about to be trained.
        first: what the first one was trained by.

    Raises:
        ConvsmithError: it preprocesses otherwise, or other images would be held out.
    """
    changed = differences(first.model_dump(), recipe.model_dump())
    changed = [key for key in changed if key == "eval" or key.startswith(_LOOKING)]
    if changed:
        raise ConvsmithError(
            f"{', '.join(changed)} must stay as they were for the first model",
            "both are measured on the same validation images, from which neither may have learned",
            "Leave them out, or train a run of its own with `convsmith train`.",
        )
