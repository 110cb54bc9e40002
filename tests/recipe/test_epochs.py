"""Steps and epochs of a run whose second phase may have epochs of another length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convsmith.recipe.epochs import Epochs

PLANS = st.builds(
    Epochs,
    steps=st.integers(1, 9),
    extra_from=st.none() | st.integers(0, 6),
    extra_steps=st.integers(1, 9),
)


def counted(plan: Epochs, epochs: int) -> list[tuple[int, int]]:
    """(epoch, step of it) of every step of the first epochs, counted one by one."""
    steps = []
    for epoch in range(epochs):
        second = plan.extra_from is not None and epoch >= plan.extra_from
        steps += [(epoch, index) for index in range(plan.extra_steps if second else plan.steps)]
    return steps


@given(PLANS, st.integers(0, 12))
def test_every_step_is_where_counting_one_by_one_puts_it(plan: Epochs, epochs: int) -> None:
    expected = counted(plan, epochs)
    assert [plan.at(step) for step in range(len(expected))] == expected


@given(PLANS, st.integers(0, 12))
def test_total_steps_are_those_counted_one_by_one(plan: Epochs, epochs: int) -> None:
    assert plan.total_steps(epochs) == len(counted(plan, epochs))


@given(PLANS, st.integers(0, 12))
def test_the_length_of_an_epoch_is_the_number_of_its_steps(plan: Epochs, epoch: int) -> None:
    assert plan.length(epoch) == sum(where == epoch for where, _ in counted(plan, epoch + 1))


@given(PLANS, st.integers(0, 12))
def test_an_epoch_begins_after_all_steps_of_those_before(plan: Epochs, epoch: int) -> None:
    assert plan.at(plan.total_steps(epoch)) == (epoch, 0)
