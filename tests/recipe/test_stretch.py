"""Recipes for another number of epochs."""

from __future__ import annotations

import pytest

from convsmith.recipe.load import load_recipe
from convsmith.recipe.make_plan import base_lr
from convsmith.recipe.packaged import list_recipes
from convsmith.recipe.schedules import learning_rates
from convsmith.recipe.schema import Recipe
from convsmith.recipe.stretch import stretch

SCHEDULES = {
    "cosine": (),
    "poly": ("schedule.name=poly",),
    "step": ("schedule.name=step", "schedule.every_epochs=20"),
    "multi_step": ("schedule.name=multi_step", "schedule.milestones=[30, 50]"),
    "exponential": ("schedule.name=exponential", "schedule.gamma=0.9"),
    "one_cycle": ("schedule.name=one_cycle",),
}


def last_rate(recipe: Recipe) -> float:
    return learning_rates(recipe.schedule, base_lr(recipe), 50)[-1] / base_lr(recipe)


@pytest.mark.parametrize("epochs", [12, 150])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_of_any_kind_decays_as_far_in_any_number_of_epochs(kind: str, epochs: int) -> None:
    recipe = load_recipe("resnet18-folder", [*SCHEDULES[kind], "ema=null"])
    other = load_recipe("resnet18-folder", [*SCHEDULES[kind], "ema=null", *stretch(recipe, epochs)])
    assert other.schedule.epochs == epochs
    assert last_rate(other) == pytest.approx(last_rate(recipe), rel=0.15, abs=5e-3)


def test_a_warmup_keeps_its_share_of_a_shorter_run_and_its_length_in_a_longer_one() -> None:
    recipe = load_recipe("resnet18-folder")  # 5 of 60 epochs
    assert stretch(recipe, 6) == ("schedule.epochs=6", "schedule.warmup_epochs=0.5")
    assert stretch(recipe, 600) == ("schedule.epochs=600",)


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        (6, ("schedule.epochs=6", "schedule.warmup_epochs=0.5", "mixing.off_epochs=1", "freeze.epochs=2")),
        (1, ("schedule.epochs=1", "schedule.warmup_epochs=0.08333", "mixing.off_epochs=0", "freeze=null")),
    ],
)
def test_epochs_without_mixing_and_frozen_ones_keep_their_share(epochs: int, words: tuple[str, ...]) -> None:
    mixing = "mixing={mixup_alpha: 0.2, off_epochs: 10}"
    recipe = load_recipe("resnet18-folder", [mixing, "freeze={names: backbone, epochs: 20}"])
    assert stretch(recipe, epochs) == words


@pytest.mark.parametrize("name", list_recipes()[::8])
def test_any_packaged_recipe_can_have_one_epoch(name: str) -> None:
    words = stretch(load_recipe(name), 1)
    assert load_recipe(name, words).schedule.epochs == 1
