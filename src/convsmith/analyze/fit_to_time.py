"""From a recipe and minutes to the recipe that ends in them, by measurement."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from convsmith.analyze.choice import Choice
from convsmith.analyze.measure_pace import measure_pace
from convsmith.analyze.pick_recipe import why_no_weights
from convsmith.analyze.recipe_table import FASTER
from convsmith.analyze.time_budget import Fit, Pace, enough, fit
from convsmith.errors import ConvsmithError, counted
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe
from convsmith.recipe.stretch import stretch
from convsmith.spec import Preprocess

_PATIENCE = 0.03  # of the time, for the steps that are measured, and for the images
_SCALES = (5 / 7, 4 / 7, 3 / 7)  # of the sides of training images: from 224 to 160, 128, 96
_STEP, _LEAST = 32, 64  # pixels
_SIZES = ("augment.", "preprocess", "model.name")
"""How keys begin that say how large the images are, or what for: who sets one wants no other size."""


@dataclass(frozen=True)
class _Candidate:
    """A recipe to measure.

    Attributes:
        choice: the recipe, and what is changed in it.
        size: height and width of its training images.
        called: how it differs from the first.
    """

    choice: Choice
    size: tuple[int, int]
    called: str


def fit_to_time(
    choice: Choice, data: Path, out: Path, overrides: Sequence[str], minutes: float, *, all_stages: bool = False
) -> Choice:
    """Change a choice so that its training ends, with its learning rate, in so many minutes from now on this machine.

    Some steps are measured. The number of epochs is what fits; where few do, the recipe is a faster one, if there is
    one, and then its images are smaller; where even that is too slow, it learns from a share of the images.

    Args:
        choice: the recipe.
        data: the images.
        out: the run's directory, where the record of the files that were looked at is left.
        overrides: what the user changes besides, which stays as it is.
        minutes: from now to the bundle.
        all_stages: from now to the end of `make`.

    Raises:
        ConvsmithError: `overrides` say how many epochs there are, or there is no time for any.
    """
    begin, seconds = time.monotonic(), 60 * minutes
    if any(word.startswith(("schedule.epochs=", "schedule=")) for word in overrides):
        raise ConvsmithError(
            f"--minutes {minutes:g} and schedule.epochs both say how long to train", fix="Leave out one of them."
        )
    measured: list[_Candidate] = []
    paces: list[Pace] = []
    candidates = list(_candidates(choice, overrides))
    for number, candidate in enumerate(candidates):
        left = seconds - (time.monotonic() - begin)
        is_last = number == len(candidates) - 1
        if measured and measured[-1].choice.recipe == candidate.choice.recipe and not is_last:
            area = math.prod(candidate.size) / math.prod(measured[-1].size)
            expected = replace(paces[-1], step=area * paces[-1].step)
            if not enough(expected, left):
                continue
        recipe = load_recipe(candidate.choice.recipe, [*candidate.choice.overrides, *overrides])
        paces.append(measure_pace(recipe, data, out, _PATIENCE * seconds, all_stages=all_stages))
        measured.append(candidate)
        if enough(paces[-1], seconds - (time.monotonic() - begin)):
            break
    spent = time.monotonic() - begin
    chosen, twice = fit(paces, seconds - spent), fit(paces, 2 * seconds - spent)
    best = measured[chosen.pace].choice
    recipe = load_recipe(best.recipe, [*best.overrides, *overrides])
    words = list(stretch(recipe, chosen.epochs))
    if chosen.eval_every != recipe.eval_every:
        words.append(f"eval_every={chosen.eval_every}")
    if chosen.fraction < 1:
        words.append(f"sampling.fraction={chosen.fraction * recipe.sampling.fraction:.3g}")
    pace, end = paces[chosen.pace], (spent + chosen.seconds) / 60
    reasons = (
        f"{minutes:g} minutes: {_called(chosen, measured)}, to end after {end:.1f} minutes; an epoch is "
        f"{counted(pace.steps, 'step')} of {pace.step:.3g} s, a validation takes {pace.validation:.3g} s",
        f"twice the time would buy {_called(twice, measured)}",
    )
    return Choice(best.recipe, (*best.overrides, *words), (*choice.reasons, *reasons))


def _called(it: Fit, measured: Sequence[_Candidate]) -> str:
    share = f" of {it.fraction:.1%} of the images" if it.fraction < 1 else ""
    return counted(it.epochs, "epoch") + measured[it.pace].called + share


def _candidates(choice: Choice, overrides: Sequence[str]) -> Iterator[_Candidate]:
    """The choice, then faster recipes, the best first."""
    recipe = load_recipe(choice.recipe, [*choice.overrides, *overrides])
    yield _Candidate(choice, recipe.augment.size, "")
    if any(word.startswith(_SIZES) for word in overrides):
        return
    called = ""
    other = choice
    while (faster := _faster(other)) is not None:
        other = replace(other, recipe=faster)
        small = load_recipe(faster, [*other.overrides, *overrides])
        if why_no_weights(small.model) is None:
            choice, recipe, called = other, small, f" of {faster}"
            yield _Candidate(choice, recipe.augment.size, called)
    sizes = {recipe.augment.size}
    for scale in _SCALES:
        height, width = (max(_LEAST, round(scale * side / _STEP) * _STEP) for side in recipe.augment.size)
        if (height, width) in sizes or height * width >= math.prod(recipe.augment.size):
            continue
        sizes.add((height, width))
        words = (*choice.overrides, *_resize(recipe, height, width))
        yield _Candidate(replace(choice, overrides=words), (height, width), f"{called} at {height} x {width} pixels")


def _faster(choice: Choice) -> str | None:
    """The recipe that learns faster, unless the user named the recipe, for which there is no reason, or the model."""
    is_open = choice.reasons and not any(word.startswith("model.name=") for word in choice.overrides)
    return FASTER.get(choice.recipe) if is_open else None


def _resize(recipe: Recipe, height: int, width: int) -> Iterator[str]:
    """Words that let a recipe learn from, and where it takes squares look at, images of another size."""
    for name, crop in recipe.augment:
        if hasattr(crop, "size"):
            yield f"augment.{name}.size={[height, width] if isinstance(crop.size, tuple) else height}"
    look = recipe.preprocess
    if isinstance(look, Preprocess):
        share = height / recipe.augment.size[0]
        yield f"preprocess.crop={round(share * look.crop)}"
        yield f"preprocess.resize={round(share * look.resize)}"
