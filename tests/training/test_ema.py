"""Averages, against numbers of torchvision's and timm's code (goldens) and in closed form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convsmith as cs
from convsmith.recipe.epochs import Epochs
from convsmith.training.update.ema import Ema, decay_after

GOLDEN = json.loads((Path(__file__).parents[1] / "goldens/training/ema.json").read_text())


def recipe_with(*overrides: str) -> cs.Recipe:
    return cs.load_recipe("digits", ["schedule.warmup_epochs=0", "ema.warmup=none", *overrides])


class Scalars(nn.Module):
    """One parameter, and a buffer of each kind, set from outside."""

    real: Tensor
    count: Tensor

    def __init__(self, start: float) -> None:
        super().__init__()
        self.parameter = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.register_buffer("real", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(0))


def follow(recipe: cs.Recipe, case: dict[str, Any], steps: int, epochs: Epochs) -> dict[str, list[float]]:
    """The average after each step, of the values that the case tells how to draw."""
    generator = np.random.RandomState(case["seed"])
    parameters, reals = generator.randn(steps), generator.rand(steps)
    model = Scalars(case["initial_parameter"])
    ema = Ema(model)
    found: dict[str, list[float]] = {"parameter": [], "real": [], "count": []}
    for step in range(steps):
        model.parameter.data.fill_(parameters[step])
        model.real.fill_(reals[step])
        model.count.fill_(step + 1)
        decay = decay_after(recipe, epochs, step)
        if decay is not None:
            ema.update(decay)
        for name, value in ema.model.state_dict().items():
            found[name].append(value.item())
    return found


@pytest.mark.parametrize("case", GOLDEN["torchvision_decay"]["cases"])
def test_the_decay_is_scaled_to_the_epochs_as_in_torchvision(case: dict[str, Any]) -> None:
    asked = case["in"]
    recipe = recipe_with(
        f"batch.size={asked['world_size'] * asked['batch_size']}",
        f"schedule.epochs={asked['epochs']}",
        f"ema.decay={asked['model_ema_decay']}",
        f"ema.every_steps={asked['model_ema_steps']}",
        "ema.scale_to_epochs=true",
    )
    assert decay_after(recipe, Epochs(1000), 64) == case["out"]["decay"]


@pytest.mark.parametrize("case", GOLDEN["torchvision"]["cases"])
def test_the_average_is_torchvisions(case: dict[str, Any]) -> None:
    asked, wanted = case["in"], case["out"]
    recipe = recipe_with(
        f"schedule.epochs={asked['epochs']}",
        f"schedule.warmup_epochs={asked['lr_warmup_epochs']}",
        f"ema.decay={asked['decay']}",
        f"ema.every_steps={asked['model_ema_steps']}",
        "ema.copy_in_warmup=true",
    )
    steps_per_epoch = asked["iterations_per_epoch"]
    found = follow(recipe, asked, asked["epochs"] * steps_per_epoch, Epochs(steps_per_epoch))
    assert found["parameter"] == pytest.approx(wanted["ema_after_iteration"], rel=1e-12)
    if asked["with_buffers"]:
        assert found["real"] == pytest.approx(wanted["ema_float_buffer_after_iteration"], rel=1e-12)


@pytest.mark.parametrize(
    "case", [c for c in GOLDEN["timm"]["cases"] if "decay_used" not in c["out"] and not c["in"].get("exclude_buffers")]
)
def test_the_average_without_warmup_is_timms(case: dict[str, Any]) -> None:
    asked, wanted = case["in"], case["out"]
    found = follow(recipe_with(f"ema.decay={asked['decay']}"), asked, asked["updates"], Epochs(7))
    assert found["parameter"] == pytest.approx(wanted["ema_after_update"], rel=1e-12)
    if asked["with_buffers"]:
        assert found["real"] == pytest.approx(wanted["ema_float_buffer_after_update"], rel=1e-12)
    if asked["with_buffers"] and asked["kind"] == "ModelEmaV3":
        assert found["count"] == wanted["ema_int_buffer_after_update"]


def test_the_decay_of_a_young_average_is_that_of_timms_third_form() -> None:
    """timm says with which update it begins, and the least decay; from then on its decay is ours."""
    cases = [case for case in GOLDEN["timm"]["cases"] if case["in"].get("use_warmup")]
    assert len(cases) == 2
    for case in cases:
        asked = case["in"]
        recipe = recipe_with(
            f"ema.decay={asked['decay']}",
            "ema.warmup=power",
            f"ema.gamma={asked.get('warmup_gamma', 1.0)}",
            f"ema.power={asked.get('warmup_power', 2 / 3)}",
        )
        first = asked.get("update_after_step", 0) + 1 - asked["first_step"]
        for update, wanted in enumerate(case["out"]["decay_used"][first + 1 :], start=1):
            decay = decay_after(recipe, Epochs(1000), update)
            assert decay is not None
            assert max(decay, asked.get("min_decay", 0.0)) == pytest.approx(wanted, rel=1e-12)


def test_the_first_update_of_a_timm_average_with_warmup_copies() -> None:
    assert decay_after(recipe_with("ema.warmup=power"), Epochs(1000), 0) == 0


def test_a_counted_warmup_follows_the_model_closely_at_first() -> None:
    recipe = recipe_with("ema.warmup=count", "ema.decay=0.999")
    assert [round(decay_after(recipe, Epochs(100), step) or 0, 4) for step in (0, 8, 10**6)] == [0.1, 0.5, 0.999]


def test_updates_are_counted_over_epochs_whose_end_they_do_not_meet() -> None:
    recipe = recipe_with("ema.warmup=count", "ema.decay=0.999", "ema.every_steps=3")
    decays = [decay_after(recipe, Epochs(4), step) for step in range(8)]
    assert decays == [1 / 10, None, None, 2 / 11, 3 / 12, None, None, 4 / 13]


def test_updates_are_counted_over_a_second_phase_of_other_epochs() -> None:
    recipe = recipe_with("ema.warmup=count", "ema.decay=0.999", "ema.every_steps=2")
    epochs = Epochs(3, extra_from=1, extra_steps=4)
    decays = [decay_after(recipe, epochs, step) for step in range(11)]
    assert decays == [1 / 10, None, 2 / 11, 3 / 12, None, 4 / 13, None, 5 / 14, None, 6 / 15, None]


@pytest.mark.parametrize("warmup", ["none", "count", "power"])
def test_the_average_equals_its_closed_form(warmup: str) -> None:
    """Value t weighs (1 - d_t) times all later d; the initial one weighs all d together."""
    recipe = recipe_with("ema.decay=0.9", f"ema.warmup={warmup}", "ema.every_steps=2")
    asked = {"seed": 5, "initial_parameter": 2.0}
    found = follow(recipe, asked, 30, Epochs(5))["parameter"]
    values = np.random.RandomState(5).randn(30)
    decays = [(decay_after(recipe, Epochs(5), step), values[step]) for step in range(30)]
    updates = [(decay, value) for decay, value in decays if decay is not None]
    weights = [(1 - d) * np.prod([later for later, _ in updates[i + 1 :]]) for i, (d, _) in enumerate(updates)]
    initial = np.prod([d for d, _ in updates])
    assert sum(weights) + initial == pytest.approx(1)
    closed = 2.0 * initial + sum(w * value for w, (_, value) in zip(weights, updates, strict=True))
    assert found[-1] == pytest.approx(closed, rel=1e-12)


def test_integer_buffers_are_copied() -> None:
    model = nn.BatchNorm1d(2)
    ema = Ema(model)
    model(torch.randn(4, 2))
    ema.update(0.75)
    assert model.running_mean is not None
    torch.testing.assert_close(ema.model.running_mean, 0.25 * model.running_mean)
    assert ema.model.state_dict()["num_batches_tracked"] == model.state_dict()["num_batches_tracked"] == 1


def test_the_average_is_in_eval_mode_and_takes_no_gradient() -> None:
    ema = Ema(nn.Linear(1, 1))
    assert not ema.model.training
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
