"""Weights of images, which a training draws them by."""

from __future__ import annotations

import numpy as np

from convsmith.data.dataset import Samples
from convsmith.errors import ConvsmithError, printable
from convsmith.recipe.sampling import Weighted
from convsmith.recipe.schema import Recipe


def check_weights(recipe: Recipe, samples: Samples) -> None:
    """Raise a ConvsmithError if the recipe draws samples by their weights, and these cannot be drawn by."""
    if not isinstance(recipe.sampling, Weighted):
        return
    from convsmith.data.loading.sampler import used_samples  # needs torch, as a training does

    if samples.weights is None:
        raise ConvsmithError(
            "sampling.name is weighted, but the images have no weights",
            "a table has them in the column `weight`",
            "Add it, name another by data.columns.weight, or leave sampling.name out.",
        )
    if (bad := np.flatnonzero(~(np.isfinite(samples.weights) & (samples.weights >= 0)))).size:
        raise ConvsmithError(
            f"{printable(samples.name(int(bad[0])))} has no weight that images can be drawn by",
            "it is a number from 0 up",
            "Correct it; an image of weight 0 is not trained on.",
        )
    if not samples.weights[used_samples(recipe.sampling, samples.targets, recipe.seed)].any():
        raise ConvsmithError("the weights of all training images are 0", "none of them would be drawn")
