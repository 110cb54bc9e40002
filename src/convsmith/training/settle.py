"""What a recipe leaves to the weights that it starts from."""

from __future__ import annotations

from convsmith.models.registry import named_weights
from convsmith.recipe.schema import Recipe


def settled(recipe: Recipe) -> Recipe:
    """The recipe with the name of the published weights that `pretrained` stands for.

    Raises:
        ConvsmithError: no weights of its model are published.
    """
    if recipe.model.weights is None:
        return recipe
    weights = named_weights(recipe.model.weights, recipe.model.name)
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"weights": weights})})
