"""Two recipes that differ in one key differ in the plan only there."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe, resolve
from convsmith.recipe.make_plan import make_plan
from convsmith.recipe.problems import known_keys
from convsmith.recipe.schema import Recipe
from convsmith.recipe.yaml_text import write_yaml
from tests.recipe.test_load import leaves

WORDS = [
    "distillation.teacher={model: resnet50, weights: resnet50.tv_v2}",
    "freeze={names: ['fc.*'], epochs: 3}",
    "optimizer.weight_decay_end=0.1",
    "schedule.extra={epochs: 2, lr: 0.1}",
    "schedule.epochs=20",
    "sampling.fraction=0.5",
    "augment.color_jitter={hue: 0.1}",
    "early_stopping={patience: 3}",
    "clip_grad_norm=1",
    "model.drop_path={end: 0.1}",
]
BASE = resolve("resnet50-in1k-v2", WORDS)
SAMPLES = 20_000

EPOCH = {"steps_per_epoch", "total_steps", "lr", "weight_decay", "extra"}
MAY_CHANGE = {
    "augment": {"augment"},
    "batch": {"effective_batch", "per_device_batch", "accumulation", *EPOCH},
    "data": {"sampler", *EPOCH},
    "distillation": {"distillation"},
    "ema": {"ema"},
    "freeze": {"freeze"},
    "loss": {"loss"},
    "mixing": {"mixing"},
    "optimizer": {"lr", "weight_decay"},
    "sampling": {"sampler", *EPOCH},
    "schedule": {"total_steps", "lr", "weight_decay", "extra"},
    "seed": {"sampler"},
    "task": {"loss"},
}


def plan_of(*words: str) -> dict[str, Any]:
    return make_plan(load_recipe("resnet50-in1k-v2", [*WORDS, *words]), SAMPLES).to_dict()


PLAN = plan_of()


def literals(annotation: Any) -> list[Any]:
    """The words that a key may be."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for argument in get_args(annotation) for word in literals(argument)]


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, Any]:
    """A key of the recipe, and another value of the same kind."""
    key = draw(st.sampled_from(sorted(leaves(BASE.values))))
    old: Any = leaves(BASE.values)[key]
    number = st.integers(0, 100) | st.sampled_from([0.05, 0.3, 0.5, 0.9, 2.5])
    if isinstance(old, bool):
        return key, not old
    if isinstance(old, list):
        return key, [draw(number) for _ in old]
    words = literals(known_keys()[key].annotation) if key in known_keys() else []
    return key, draw(st.sampled_from(words) if words and isinstance(old, str) else number)


@settings(max_examples=100, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(changes())
def test_one_key_changes_only_its_part_of_the_plan(change: tuple[str, Any]) -> None:
    key, value = change
    section, _, rest = key.partition(".")
    try:
        plan = plan_of(f"{key}={write_yaml(value)}")
    except ConvsmithError:
        assume(False)
    differs = {part for part in plan if plan[part] != PLAN[part]}
    assert differs <= MAY_CHANGE.get(section, set())
    if section in PLAN and section in differs and not rest.endswith("name"):
        before, after = leaves(PLAN[section]), leaves(plan[section])
        assert {path for path in after if after[path] != before[path]} == {rest}


@pytest.mark.parametrize("section", sorted({"augment", "distillation", "ema", "freeze", "loss", "mixing"}))
def test_a_section_stands_in_the_plan_as_it_is(section: str) -> None:
    assert PLAN[section] == BASE.values[section]
    assert section in Recipe.model_fields


@pytest.mark.parametrize("hardware", [(1, 1, None), (1, 8, None), (4, 8, 4), (1, 2, 100), (1, 1, 1)])
def test_no_rate_depends_on_devices_or_accumulation(hardware: tuple[int, int, int | None]) -> None:
    plan = make_plan(BASE.recipe, SAMPLES, *hardware).to_dict()
    hardware_keys = {"world_size", "per_device_batch", "accumulation"}
    assert {part for part in plan if plan[part] != PLAN[part]} <= hardware_keys
