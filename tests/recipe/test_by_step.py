from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from pydantic import TypeAdapter

from convsmith.errors import ConvsmithError
from convsmith.recipe.by_step import LISTED, LearningRates, WeightDecays, for_file, of_file
from convsmith.recipe.load import load_recipe
from convsmith.recipe.make_plan import make_plan
from convsmith.recipe.optimization import Schedule
from convsmith.recipe.schedules import learning_rates

SCHEDULES: list[dict[str, Any]] = [
    {"name": "cosine", "epochs": 7, "warmup_epochs": 2, "min_lr": 1e-5},
    {"name": "poly", "epochs": 5, "shift": -1, "extra": {"epochs": 2, "lr": 0.01}},
    {"name": "step", "epochs": 6, "every_epochs": 2, "by": "epoch"},
    {"name": "multi_step", "epochs": 6, "milestones": [2, 4]},
    {"name": "exponential", "epochs": 4, "gamma": 0.9},
    {"name": "constant", "epochs": 3},
    {"name": "one_cycle", "epochs": 4},
]


@pytest.fixture(params=SCHEDULES, ids=lambda said: said["name"])
def schedule(request: pytest.FixtureRequest) -> Schedule:
    found: Schedule = TypeAdapter(Schedule).validate_json(json.dumps(request.param))
    return found


@pytest.mark.parametrize("extra_steps", [None, 3])
def test_a_rate_that_is_asked_for_is_that_of_the_list(schedule: Schedule, extra_steps: int | None) -> None:
    rates, listed = LearningRates(schedule, 0.1, 4, extra_steps), learning_rates(schedule, 0.1, 4, extra_steps)
    assert [rates[step] for step in range(len(rates))] == listed
    assert [*rates] == listed
    assert rates == tuple(listed)
    assert (rates[-1], rates[2:9:3]) == (listed[-1], listed[2:9:3])


def test_other_numbers_are_not_equal(schedule: Schedule) -> None:
    rates = LearningRates(schedule, 0.1, 4)
    assert rates != [*rates][:-1]
    assert rates != LearningRates(schedule, 0.2, 4)


def test_a_step_beyond_the_last_is_an_error() -> None:
    with pytest.raises(IndexError):
        WeightDecays(0.1, 0.2, 5)[5]


def test_a_warmup_without_end_is_an_error_of_the_plan() -> None:
    recipe = load_recipe("digits", ["schedule.warmup_epochs=0", "schedule.warmup_steps=1000"])
    with pytest.raises(ConvsmithError, match="the warmup would never end"):
        make_plan(recipe, 64)


def test_the_rule_of_many_steps_gives_the_same_numbers_from_a_file(schedule: Schedule) -> None:
    steps_per_epoch = LISTED // schedule.epochs + 1
    rates = LearningRates(schedule, 0.1, steps_per_epoch)
    assert len(rates) > LISTED
    read = json.loads(json.dumps({"lr": for_file("lr", rates)}))
    assert len(json.dumps(read)) < 1000
    assert of_file(read)["lr"] == learning_rates(schedule, 0.1, steps_per_epoch)


def test_numbers_of_few_steps_are_listed_in_the_file(schedule: Schedule) -> None:
    rates = LearningRates(schedule, 0.1, 4)
    assert for_file("lr", rates) == learning_rates(schedule, 0.1, 4)


def test_a_plan_of_millions_of_steps_is_small_and_its_file_gives_every_number() -> None:
    words = ["batch.size=32", "schedule.epochs=3", "optimizer.weight_decay_end=0.1"]
    plan = make_plan(load_recipe("digits", words), 4_000_000)
    written = json.dumps(plan.for_file())
    assert max(len(written), len(pickle.dumps(plan))) < 10_000
    assert of_file(json.loads(written)) == plan.to_dict()


def test_the_file_of_a_short_plan_lists_every_number() -> None:
    plan = make_plan(load_recipe("digits"), 640)
    assert plan.for_file() == plan.to_dict()
