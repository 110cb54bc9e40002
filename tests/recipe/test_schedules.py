from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from convsmith.errors import ConvsmithError
from convsmith.recipe.optimization import (
    Constant,
    Cosine,
    Exponential,
    ExtraPhase,
    MultiStep,
    OneCycle,
    Poly,
    Schedule,
    Step,
)
from convsmith.recipe.schedules import learning_rate, learning_rates, warmup_steps

SCHEDULES = st.builds(
    Cosine,
    epochs=st.integers(1, 20),
    warmup_epochs=st.floats(0, 0.99),
    warmup_lr=st.floats(0, 0.5),
    min_lr=st.floats(0, 0.5),
) | st.builds(Cosine, epochs=st.integers(6, 20), warmup_epochs=st.integers(0, 5))
KINDS: list[Schedule] = [
    Cosine(epochs=5, warmup_epochs=1),
    Poly(name="poly", epochs=5, warmup_epochs=1),
    Step(name="step", epochs=5, every_epochs=2, warmup_epochs=1),
    MultiStep(name="multi_step", epochs=5, milestones=(2, 2.5), warmup_epochs=1),
    Exponential(name="exponential", epochs=5, warmup_epochs=1),
    Constant(name="constant", epochs=5, warmup_epochs=1),
]
BASE_LRS = st.floats(0.5, 10)
STEPS = st.integers(1, 30)


def test_the_published_cosine_of_90_epochs() -> None:
    """Half of the base rate in the middle, a quarter of the way (1 + cos(pi / 4)) / 2."""
    rates = learning_rates(Cosine(epochs=90), 0.1, 4)
    assert rates[0] == 0.1
    assert rates[90] == pytest.approx(0.1 * (1 + math.sqrt(0.5)) / 2)
    assert rates[180] == pytest.approx(0.05)
    assert rates[359] == pytest.approx(0.1 * (1 + math.cos(math.pi * 359 / 360)) / 2)


def test_warmup_is_a_straight_line_to_the_base_rate() -> None:
    rates = learning_rates(Cosine(epochs=5, warmup_epochs=1, warmup_lr=0.1), 0.5, 4)
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_the_cosine_starts_where_the_warmup_ends() -> None:
    with_warmup = learning_rates(Cosine(epochs=5, warmup_epochs=2), 0.5, 4)
    assert with_warmup[8:] == learning_rates(Cosine(epochs=3), 0.5, 4)


def test_warmup_may_end_within_an_epoch() -> None:
    assert warmup_steps(Cosine(epochs=5, warmup_epochs=0.5), 5) == 2  # 2.5, rounded to even


def test_a_run_of_one_step_has_the_base_rate() -> None:
    assert learning_rates(Cosine(epochs=1, warmup_epochs=0.9), 0.5, 1) == [0.5]


def test_warmup_may_be_given_in_steps() -> None:
    assert warmup_steps(Cosine(epochs=5, warmup_steps=7), 5) == 7


@pytest.mark.parametrize(("reaches", "most"), [("after", 9), ("at_last_step", 10)])
def test_more_warmup_steps_than_the_run_has_are_an_error(reaches: Literal["after", "at_last_step"], most: int) -> None:
    longest = Cosine(epochs=2, warmup_steps=most, warmup_reaches_lr=reaches)
    assert warmup_steps(longest, 5) == most
    with pytest.raises(ConvsmithError, match=rf"is {most + 1} of 10 steps.*\nSet {most} or less"):
        warmup_steps(longest.model_copy(update={"warmup_steps": most + 1}), 5)


@pytest.mark.parametrize("share", [0.3, 0.6, 1.1, 2.3])
def test_a_fall_within_an_epoch_comes_at_the_nearest_step(share: float) -> None:
    falls = round(share * 10)  # 10 x 1.1 is a little above 11
    for schedule in (
        Step(name="step", epochs=5, every_epochs=share),
        MultiStep(name="multi_step", epochs=5, milestones=(share,)),
    ):
        rates = learning_rates(schedule, 1.0, 10)
        assert (rates[falls - 1], rates[falls]) == (1.0, 0.1)


def test_falls_closer_than_a_step_come_at_every_step() -> None:
    assert learning_rates(Step(name="step", epochs=3, every_epochs=0.1, gamma=0.5), 1.0, 1) == [1.0, 0.5, 0.25]


def test_a_warmup_that_reaches_its_rate_may_take_the_whole_run() -> None:
    schedule = Cosine(epochs=2, warmup_epochs=2, warmup_reaches_lr="at_last_step")
    assert learning_rates(schedule, 1.0, 3) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])


def test_a_constant_warmup_jumps_to_the_base_rate() -> None:
    schedule = Cosine(epochs=5, warmup_epochs=1, warmup="constant", warmup_lr=0.01)
    assert learning_rates(schedule, 0.5, 2)[:3] == [0.01, 0.01, 0.5]


@pytest.mark.parametrize("kind", KINDS)
def test_by_epoch_each_epoch_has_the_rate_of_its_first_step(kind: Schedule) -> None:
    by_step = learning_rates(kind, 0.5, 4)
    by_epoch = learning_rates(kind.model_copy(update={"by": "epoch"}), 0.5, 4)
    assert by_epoch == [rate for rate in by_step[::4] for _ in range(4)]


@pytest.mark.parametrize("kind", [*KINDS, OneCycle(name="one_cycle", epochs=5)])
def test_any_step_of_any_kind_can_be_asked_for_alone(kind: Schedule) -> None:
    rates = learning_rates(kind, 0.5, 4)
    assert [learning_rate(kind, 0.5, 4, step) for step in range(20)] == rates


@pytest.mark.parametrize("kind", KINDS)
def test_a_shift_moves_all_rates_by_a_step(kind: Schedule) -> None:
    rates = learning_rates(kind, 0.5, 4)
    assert learning_rates(kind.model_copy(update={"shift": 1}), 0.5, 4)[:-1] == rates[1:]
    assert learning_rates(kind.model_copy(update={"shift": -1}), 0.5, 4) == [rates[0], *rates[:-1]]


@pytest.mark.parametrize("kind", KINDS)
def test_an_extra_phase_is_the_same_schedule_again_without_warmup(kind: Schedule) -> None:
    extra = ExtraPhase(epochs=3, lr=0.2)
    rates = learning_rates(kind.model_copy(update={"extra": extra}), 0.5, 4)
    alone = kind.model_copy(update={"epochs": 3, "warmup_epochs": 0})
    assert rates == learning_rates(kind, 0.5, 4) + learning_rates(alone, 0.2, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_rates_are_proportional_to_the_base_rate(kind: Schedule) -> None:
    """So that the factor of a parameter group fits any kind."""
    kind = kind.model_copy(update={"warmup_epochs": 0})
    assert learning_rates(kind, 5.0, 4) == pytest.approx([10 * rate for rate in learning_rates(kind, 0.5, 4)])


@pytest.mark.parametrize("step", [-1, 20])
def test_a_step_outside_the_run_is_an_error(step: int) -> None:
    with pytest.raises(ValueError, match=f"the run has steps 0 to 19, not {step}"):
        learning_rate(Cosine(epochs=5), 0.1, 4, step)


@given(SCHEDULES, BASE_LRS, STEPS)
def test_there_is_one_rate_for_each_step(schedule: Cosine, base_lr: float, steps: int) -> None:
    assert len(learning_rates(schedule, base_lr, steps)) == schedule.epochs * steps


@given(SCHEDULES, BASE_LRS, STEPS)
def test_the_step_after_warmup_has_exactly_the_base_rate(schedule: Cosine, base_lr: float, steps: int) -> None:
    assert learning_rates(schedule, base_lr, steps)[warmup_steps(schedule, steps)] == base_lr


@given(SCHEDULES, BASE_LRS, STEPS)
def test_the_first_step_of_a_warmup_has_exactly_its_rate(schedule: Cosine, base_lr: float, steps: int) -> None:
    assume(warmup_steps(schedule, steps) > 0)
    assert learning_rate(schedule, base_lr, steps, 0) == schedule.warmup_lr


@given(SCHEDULES, BASE_LRS, STEPS)
def test_rates_rise_through_the_warmup_and_never_after(schedule: Cosine, base_lr: float, steps: int) -> None:
    rates = learning_rates(schedule, base_lr, steps)
    warmup = warmup_steps(schedule, steps)
    rounding = 1e-12 * base_lr
    assert all(after >= before - rounding for before, after in pairwise(rates[: warmup + 1]))
    assert all(after <= before + rounding for before, after in pairwise(rates[warmup:]))


@given(SCHEDULES, BASE_LRS, STEPS)
def test_every_rate_lies_between_the_recipes(schedule: Cosine, base_lr: float, steps: int) -> None:
    rates = learning_rates(schedule, base_lr, steps)
    lowest = min(schedule.warmup_lr if warmup_steps(schedule, steps) else base_lr, schedule.min_lr)
    assert all(lowest * (1 - 1e-12) <= rate <= base_lr * (1 + 1e-12) for rate in rates)


@given(SCHEDULES, BASE_LRS, STEPS, st.data())
def test_one_step_can_be_asked_for_alone(schedule: Cosine, base_lr: float, steps: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, schedule.epochs * steps - 1))
    assert learning_rate(schedule, base_lr, steps, step) == learning_rates(schedule, base_lr, steps)[step]
