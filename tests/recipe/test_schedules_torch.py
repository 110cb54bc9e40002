"""Schedules that torch has too are torch's, step for step."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as torchs

from convsmith.recipe.optimization import Constant, Cosine, Exponential, MultiStep, OneCycle, Poly, Schedule, Step
from convsmith.recipe.schedules import learning_rates

EPOCHS = st.integers(1, 12)
STEPS = st.integers(1, 7)
RATES = st.floats(1e-3, 5)
GAMMAS = st.floats(0.05, 1)


def rates_of(make: Callable[[torch.optim.Optimizer], Any], lr: float, count: int) -> list[float]:
    """What torch sets for each of `count` steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR warns of itself
        scheduler = make(optimizer)
        for _ in range(count):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            if len(rates) < count:
                scheduler.step()
    return rates


def agrees(schedule: Schedule, make: Callable[[torch.optim.Optimizer], Any], lr: float, steps: int) -> bool:
    rates = learning_rates(schedule, lr, steps)
    return rates == pytest.approx(rates_of(make, lr, len(rates)), rel=1e-7, abs=1e-12 * lr)


@given(EPOCHS, STEPS, RATES, st.floats(0, 1))
def test_cosine(epochs: int, steps: int, lr: float, low: float) -> None:
    count = epochs * steps
    make = lambda it: torchs.CosineAnnealingLR(it, count, eta_min=low * lr)  # noqa: E731
    assert agrees(Cosine(epochs=epochs, min_lr=low * lr), make, lr, steps)


@given(EPOCHS, STEPS, RATES, st.floats(0.3, 3))
def test_poly(epochs: int, steps: int, lr: float, power: float) -> None:
    make = lambda it: torchs.PolynomialLR(it, epochs * steps, power)  # noqa: E731
    assert agrees(Poly(name="poly", epochs=epochs, power=power), make, lr, steps)


@given(EPOCHS, STEPS, RATES, st.integers(1, 5), GAMMAS)
def test_step(epochs: int, steps: int, lr: float, every: int, gamma: float) -> None:
    make = lambda it: torchs.StepLR(it, every * steps, gamma)  # noqa: E731
    assert agrees(Step(name="step", epochs=epochs, every_epochs=every, gamma=gamma), make, lr, steps)


@given(EPOCHS, STEPS, RATES, st.sets(st.integers(1, 12), min_size=1), GAMMAS)
def test_multi_step(epochs: int, steps: int, lr: float, milestones: set[int], gamma: float) -> None:
    falls = sorted(milestones)
    schedule = MultiStep(name="multi_step", epochs=epochs, milestones=tuple(falls), gamma=gamma)
    make = lambda it: torchs.MultiStepLR(it, [fall * steps for fall in falls], gamma)  # noqa: E731
    assert agrees(schedule, make, lr, steps)


@given(EPOCHS, STEPS, RATES, GAMMAS)
def test_exponential(epochs: int, steps: int, lr: float, gamma: float) -> None:
    make = lambda it: torchs.ExponentialLR(it, gamma ** (1 / steps))  # noqa: E731
    assert agrees(Exponential(name="exponential", epochs=epochs, gamma=gamma), make, lr, steps)


@given(
    st.integers(2, 12), STEPS, RATES, st.integers(1, 11), st.floats(0.01, 1), st.sampled_from(["linear", "constant"])
)
def test_warmup(epochs: int, steps: int, lr: float, warmup: int, share: float, kind: Any) -> None:
    assume(warmup < epochs)
    count = warmup * steps

    def make(optimizer: torch.optim.Optimizer) -> Any:
        kinds = {"linear": torchs.LinearLR, "constant": torchs.ConstantLR}
        first = kinds[kind](optimizer, share, total_iters=count)
        rest = torchs.ConstantLR(optimizer, 1.0, total_iters=1)
        return torchs.SequentialLR(optimizer, [first, rest], [count])

    schedule = Constant(
        name="constant", epochs=epochs, warmup_epochs=warmup, warmup=kind, warmup_lr=share * lr, by="step"
    )
    assert agrees(schedule, make, lr, steps)


@given(EPOCHS, STEPS, RATES, st.floats(0.05, 0.95), st.floats(1, 50), st.floats(1, 1e4))
def test_one_cycle(epochs: int, steps: int, lr: float, rising: float, div: float, final: float) -> None:
    """Where torch divides by zero, since the highest rate is that of step 0 exactly, ours begins with it."""
    count = epochs * steps
    schedule = OneCycle(name="one_cycle", epochs=epochs, rising=rising, div_factor=div, final_div_factor=final)
    if rising * count == 1:
        assert learning_rates(schedule, lr, steps)[0] == lr
        return
    make = lambda it: torchs.OneCycleLR(  # noqa: E731
        it, lr, count, pct_start=rising, div_factor=div, final_div_factor=final, cycle_momentum=False
    )
    assert agrees(schedule, make, lr, steps)


def test_one_cycle_that_starts_at_its_top() -> None:
    assert learning_rates(OneCycle(name="one_cycle", epochs=2, rising=0.5), 0.1, 1)[0] == 0.1
