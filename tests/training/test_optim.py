from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convsmith.errors import ConvsmithError
from convsmith.recipe.optimization import Adam, AdamW, Lamb, Lion, Optimizer, RmsProp, Sgd
from convsmith.recipe.plan import Group
from convsmith.training.update.groups import parameter_groups
from convsmith.training.update.optim import STATE_SLOTS, make_optimizer, optimizer_tensors, restore_optimizer

SCHEDULES = json.loads((Path(__file__).parents[1] / "goldens/training/schedules.json").read_text())

EVERY: list[Optimizer] = [
    Sgd(name="sgd", lr=1e-3, nesterov=True),
    Sgd(name="sgd", lr=1e-3, momentum=0),
    AdamW(name="adamw"),
    Adam(name="adam", weight_decay=0.1),
    RmsProp(name="rmsprop"),
    RmsProp(name="rmsprop", momentum=0),
    Lamb(name="lamb", weight_decay=0.1),
    Lion(name="lion", weight_decay=0.1),
]


def small_model() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 4 * 4, 2))
    return model.to(memory_format=torch.channels_last)


def take_step(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    images = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(step))
    optimizer.zero_grad()
    model(images).square().sum().backward()
    optimizer.step()


def train(recipe: Optimizer, restore_at: int | None) -> dict[str, Tensor]:
    """Weights and state after six steps; the first layer learns from the third on."""
    model = small_model()
    groups = parameter_groups(model, recipe.model_copy(update={"norm_weight_decay": 0.0}))
    optimizer = make_optimizer(model, recipe, groups)
    for step in range(6):
        if step == restore_at:
            saved = {key: value.clone() for key, value in optimizer_tensors(optimizer).items()}
            optimizer = make_optimizer(model, recipe, groups)
            restore_optimizer(optimizer, saved)
        model[0].requires_grad_(step >= 2)  # type: ignore[index]
        take_step(model, optimizer, step)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    return {**model.state_dict(), **optimizer_tensors(optimizer)}


@pytest.mark.parametrize("restore_at", [1, 4])
@pytest.mark.parametrize("recipe", EVERY, ids=lambda recipe: recipe.name)
def test_a_restored_optimizer_goes_on_bit_for_bit(recipe: Optimizer, restore_at: int) -> None:
    whole, resumed = train(recipe, None), train(recipe, restore_at)
    assert whole.keys() == resumed.keys()
    assert [key for key in whole if not torch.equal(whole[key], resumed[key])] == []


@pytest.mark.parametrize("recipe", EVERY, ids=lambda recipe: recipe.name)
def test_memory_is_planned_for_what_the_optimizer_keeps(recipe: Optimizer) -> None:
    model = small_model()
    optimizer = make_optimizer(model, recipe, parameter_groups(model, recipe))
    take_step(model, optimizer, 0)
    shape = model[0].weight.shape  # type: ignore[index]
    kept = sum(value.shape == shape for value in optimizer_tensors(optimizer).values())
    without_momentum = getattr(recipe, "momentum", None) == 0
    assert kept == STATE_SLOTS[recipe.name] - without_momentum


def moved(recipe: Optimizer, gradient: float) -> float:
    """Where a weight of 1 is after one step."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = make_optimizer(model, recipe, parameter_groups(model, recipe))
    model.weight.grad = torch.full((1, 1), float(gradient))
    optimizer.step()
    return model.weight.item()


def test_first_steps_are_those_of_the_papers() -> None:
    assert moved(Sgd(name="sgd", lr=0.1, weight_decay=0.5), 2) == pytest.approx(1 - 0.1 * (2 + 0.5))
    assert moved(AdamW(name="adamw", lr=0.1, weight_decay=0.5), 2) == pytest.approx(1 - 0.1 * 0.5 - 0.1)
    assert moved(Adam(name="adam", lr=0.1, weight_decay=0.5), 2) == pytest.approx(1 - 0.1)
    root = (0.25 * 2**2) ** 0.5
    assert moved(RmsProp(name="rmsprop", lr=0.1, alpha=0.75), 2) == pytest.approx(1 - 0.1 * 2 / root)
    # update 1 + decay 0.5 of a weight of size 1: as long as the weight, once the trust ratio is applied
    assert moved(Lamb(name="lamb", lr=0.1, weight_decay=0.5), 0.5) == pytest.approx(1 - 0.1, rel=1e-5)
    assert moved(Lion(name="lion", lr=0.1, weight_decay=0.5), 2) == pytest.approx(1 * (1 - 0.1 * 0.5) - 0.1)


def test_a_schedule_moves_the_recipes_own_weight_decay_only() -> None:
    model = small_model()
    groups = (Group(1.0, 0.05, ("0.weight",)), Group(1.0, 0.0, ("0.bias",)), Group(1.0, 0.1, ("3.weight",)))
    optimizer = make_optimizer(model, AdamW(name="adamw", weight_decay=0.05), groups)
    assert [group["decay_moves"] for group in optimizer.param_groups] == [True, False, False]
    without = make_optimizer(model, AdamW(name="adamw", weight_decay=0), (Group(1.0, 0.0, ("0.bias",)),))
    assert not without.param_groups[0]["decay_moves"]


def test_without_timm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.optim", None)
    model = small_model()
    recipe = Lion(name="lion")
    with pytest.raises(ConvsmithError, match=r"the optimizer lion needs the package `timm`.*\n.*\[timm\]"):
        make_optimizer(model, recipe, parameter_groups(model, recipe))


@pytest.mark.parametrize("case", SCHEDULES["mxnet_nag"]["cases"])
def test_nesterov_momentum_is_that_of_the_mxnet_that_resnest_was_trained_with(
    case: dict[str, Any],
) -> None:
    given, expected = case["in"], case["out"]["weights_mxnet_1_4_and_torch_sgd_nesterov"]
    random = np.random.RandomState(given["seed"])
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(model.weight, random.randn())
    gradients = random.randn(given["steps"])
    recipe = Sgd(name="sgd", momentum=given["momentum"], nesterov=True, weight_decay=given["wd"])
    optimizer = make_optimizer(model, recipe, parameter_groups(model, recipe))
    weights = []
    for step, gradient in enumerate(gradients):
        optimizer.param_groups[0]["lr"] = given["lr"] * (1 - step / (2 * given["steps"]))
        model.weight.grad = torch.full_like(model.weight, gradient)
        optimizer.step()
        weights.append(model.weight.item())
    assert weights == pytest.approx(expected, rel=1e-9)
