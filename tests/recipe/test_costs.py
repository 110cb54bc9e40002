"""What was measured of the packaged recipes' models, and when it is read."""

from __future__ import annotations

import pytest

from convsmith import machine
from convsmith.recipe.costs import Cost, known_cost, plan_within, read_costs
from convsmith.recipe.load import load_recipe


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without a GPU, whose processor computes bfloat16."""
    monkeypatch.setattr(machine, "may_have_gpu", lambda: False)
    monkeypatch.setattr(machine, "computes_bfloat16", lambda: True)
    return monkeypatch


@pytest.mark.usefixtures("cpu")
def test_the_arithmetic_is_what_training_would_compute_in(cpu: pytest.MonkeyPatch) -> None:
    costs = {it: known_cost(load_recipe("resnet18-in1k", [f"precision={it}"])) for it in ("auto", "bf16", "fp32")}
    assert costs["auto"] == costs["bf16"] != costs["fp32"]
    cpu.setattr(machine, "computes_bfloat16", lambda: False)
    assert known_cost(load_recipe("resnet18-in1k", ["precision=auto"])) == costs["fp32"]


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("change", ["batch.size=64", "schedule.epochs=3", "data.workers=0", "seed=3"])
def test_what_says_nothing_of_the_model_changes_no_cost(change: str) -> None:
    assert known_cost(load_recipe("resnet18-in1k", [change])) == known_cost(load_recipe("resnet18-in1k"))


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize(
    "change",
    [
        "model.num_classes=10",
        "model.options={zero_init_residual: true}",
        "optimizer.norm_weight_decay=0",
        "augment.random_resized_crop.size=64",
        "ema={decay: 0.9}",
        "freeze={names: backbone}",
        "precision=fp16",
    ],
)
def test_a_recipe_that_says_something_else_of_the_model_has_to_be_measured(change: str) -> None:
    assert known_cost(load_recipe("resnet18-in1k", [change])) is None


def test_on_a_machine_that_may_have_a_gpu_it_has_to_be_measured(cpu: pytest.MonkeyPatch) -> None:
    assert known_cost(load_recipe("digits")) is not None
    cpu.setattr(machine, "may_have_gpu", lambda: True)
    assert known_cost(load_recipe("digits")) is None


def test_a_processor_that_does_not_say_what_it_computes_has_to_be_asked(cpu: pytest.MonkeyPatch) -> None:
    cpu.setattr(machine, "computes_bfloat16", lambda: None)
    assert known_cost(load_recipe("digits")) is None


def test_resnet_50_has_the_published_size_and_cost() -> None:
    found = [cost for key, cost in read_costs().items() if key.startswith("resnet50 fp32 ")]
    assert {cost.gmacs for cost in found if cost.params == 25_557_032} >= {4.089184256}


@pytest.mark.usefixtures("cpu")
def test_what_weights_may_say_of_the_images_has_to_be_asked() -> None:
    assert known_cost(load_recipe("linear-probe")) is not None
    assert known_cost(load_recipe("linear-probe", ["model.weights=pretrained"])) is None


@pytest.mark.parametrize(("memory", "batch"), [(1500.0, 1), (1750.0, 2), (3249.0, 4), (3250.0, 8), (1e9, 128)])
def test_the_largest_batch_that_fits_four_fifths_of_the_memory_is_planned(memory: float, batch: int) -> None:
    cost = Cost(params=7, gmacs=0.5, fixed_bytes=1000, sample_bytes=200, groups=[])
    recipe = load_recipe("digits", ["batch.size=640"])
    plan = plan_within(memory, cost, recipe, 6400, nodes=1, devices=5, extra_samples=None)
    assert (plan.per_device_batch, plan.memory_bytes) == (batch, 1000 + 200 * batch)
    assert (plan.params, plan.gmacs) == (7, 0.5)
