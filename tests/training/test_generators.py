"""Whoever trains through the library finds torch's global generator as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import convsmith as cs
from convsmith.analyze.lr_finder import find_lr
from convsmith.analyze.profile import profile_training
from convsmith.training.pack import trained_model
from tests.training.conftest import SMALL
from tests.training.tiny_model import name_tiny

USES: dict[str, Callable[[cs.Recipe, Path, Path], object]] = {
    "train": cs.train,
    "find_lr": lambda recipe, data, out: find_lr(recipe, data, out, steps=20),
    "profile_training": lambda recipe, data, out: profile_training(recipe, data, out, steps=1),
}


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> cs.Recipe:
    name_tiny(monkeypatch)
    monkeypatch.setattr("convsmith.training.train.pack", lambda *_: None)
    return cs.load_recipe("digits", [*SMALL, "model.name=tiny", "schedule.epochs=1", "schedule.warmup_epochs=0"])


@pytest.mark.parametrize("name", USES)
def test_the_global_generator_is_left_as_it_was(name: str, recipe: cs.Recipe, digits: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    USES[name](recipe, digits, tmp_path / "out")
    assert torch.equal(torch.get_rng_state(), before)


def test_reading_the_weights_of_a_run_draws_nothing(recipe: cs.Recipe, digits: Path, tmp_path: Path) -> None:
    run = cs.train(recipe, digits, tmp_path / "run")
    before = torch.get_rng_state()
    trained_model(run.recipe, run.checkpoints / "best")
    assert torch.equal(torch.get_rng_state(), before)
