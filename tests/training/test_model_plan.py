from __future__ import annotations

from pathlib import Path

import pytest
import torch

import convsmith as cs
from convsmith.recipe.costs import cost_key, read_costs
from convsmith.training.measure_costs import CPU_PRECISIONS
from convsmith.training.model_plan import measure
from convsmith.training.precision import Precision
from convsmith.training.settle import settled


def test_the_plan_of_resnet50_has_the_published_size_and_cost() -> None:
    plan = cs.plan(cs.load_recipe("resnet50-in1k"), num_samples=1_281_167, nodes=4, devices=8)
    assert plan.params == 25_557_032
    assert plan.gmacs == pytest.approx(4.089184256)
    assert (plan.world_size, plan.effective_batch) == (32, 256)
    assert plan.world_size * plan.per_device_batch * plan.accumulation == 256


@pytest.mark.parametrize("name", ["digits", "cifar10-ladder-05-ema", "linear-probe", "convnext_isotropic_small-in1k"])
def test_the_cost_that_is_known_of_a_recipe_is_what_is_measured(name: str) -> None:
    recipe = cs.load_recipe(name)
    assert read_costs()[cost_key(recipe, "bf16")] == measure(settled(recipe), "bf16").cost


OF_THEIR_CLASSES = {"hrnet_w48_ocr-lip", "hrnet_w48_seg-lip", "hrnet_w48_seg-lip-ssld"}
"""Recipes that mirror some classes, which only their data name."""


@pytest.mark.parametrize("precision", CPU_PRECISIONS)
@pytest.mark.parametrize("name", sorted(OF_THEIR_CLASSES))
def test_no_cost_is_known_of_a_recipe_that_needs_classes_of_its_data(name: str, precision: Precision) -> None:
    recipe = cs.load_recipe(name)
    assert cost_key(recipe, precision) not in read_costs()
    with pytest.raises(cs.ConvsmithError, match="mirrored_classes"):
        measure(settled(recipe), precision)


@pytest.mark.slow
@pytest.mark.parametrize("precision", CPU_PRECISIONS)
@pytest.mark.parametrize("name", [name for name in cs.list_recipes() if name not in OF_THEIR_CLASSES])
def test_the_cost_that_is_known_of_each_recipe_is_what_is_measured(name: str, precision: Precision) -> None:
    recipe = cs.load_recipe(name)
    assert read_costs()[cost_key(recipe, precision)] == measure(settled(recipe), precision).cost


def test_every_parameter_is_in_one_group() -> None:
    recipe = cs.load_recipe("resnet50-in1k", ["optimizer.norm_weight_decay=0"])
    groups = cs.plan(recipe, num_samples=1000).groups
    assert groups is not None
    names = [name for group in groups for name in group.names]
    assert len(names) == len(set(names)) == 161
    assert {group.weight_decay for group in groups} == {0.0, 1e-4}


def test_memory_grows_with_the_per_device_batch_by_what_a_forward_pass_keeps() -> None:
    recipe = cs.load_recipe("digits", ["precision=fp32"])
    bytes_of = {
        size: cs.plan(
            recipe.model_copy(update={"batch": recipe.batch.model_copy(update={"size": size})}), 1000
        ).memory_bytes
        for size in (8, 16, 24)
    }
    assert bytes_of[16] - bytes_of[8] == bytes_of[24] - bytes_of[16]  # type: ignore[operator]
    # ResNet-20 keeps about 190,000 activations of 32x32 images twice: before and after normalisation
    assert 8 * 1e6 < bytes_of[16] - bytes_of[8] < 8 * 3e6  # type: ignore[operator]


def test_a_forward_pass_takes_no_more_than_the_device_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = cs.load_recipe("resnet18-in1k", ["precision=fp32"])
    free = cs.plan(recipe, num_samples=1000)
    monkeypatch.setattr("convsmith.training.model_plan.device_memory", lambda device: 2 * 10**9)
    tight = cs.plan(recipe, num_samples=1000)
    assert tight.effective_batch == free.effective_batch == 256
    assert tight.per_device_batch < free.per_device_batch
    assert tight.memory_bytes is not None
    assert tight.memory_bytes < 2 * 10**9


def test_a_plan_builds_no_weights() -> None:
    before = torch.get_rng_state()
    cs.plan(cs.load_recipe("resnet50-in1k"), num_samples=1000)
    assert torch.equal(torch.get_rng_state(), before)


def test_unknown_weights_are_an_error() -> None:
    with pytest.raises(cs.ConvsmithError, match="unknown weights `nope`"):
        cs.plan(cs.load_recipe("digits", ["model.weights=nope"]), num_samples=100)


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        ("cifar_resnet20", "cifar_resnet20.akamaster"),
        ("cifar_resnet20", "mine.pth"),
        ("cifar_resnet20", "{folder}"),
        ("timm/test_resnet", "pretrained"),
    ],
)
def test_weights_of_a_plan_are_not_loaded(model: str, weights: str, tmp_path: Path) -> None:
    weights = weights.format(folder=tmp_path)
    assert cs.plan(cs.load_recipe("digits", [f"model.name={model}", f"model.weights={weights}"]), num_samples=100)


def test_a_model_for_another_task_is_an_error() -> None:
    with pytest.raises(cs.ConvsmithError, match="logits for each pixel, not for each image"):
        cs.plan(cs.load_recipe("digits", ["model.name=hrnet_w18_seg"]), num_samples=100)


@pytest.mark.parametrize(
    "name", ["resnet18", "cifar_resnet20", "mobilenet_v2", "resnest50", "convnext_tiny", "hrnet_w18_small_v1"]
)
def test_a_model_of_every_family_can_be_planned(name: str) -> None:
    recipe = cs.load_recipe("resnet18-in1k", [f"model.name={name}", "precision=bf16"])
    plan = cs.plan(recipe, num_samples=1000)
    assert plan.params is not None
    assert plan.memory_bytes is not None
    assert plan.memory_bytes > 12 * plan.params  # weights, gradients and momentum alone


def test_a_model_that_ends_in_one_pixel_can_be_planned() -> None:
    small = ["augment.random_crop.size=32", "preprocess.resize=32", "preprocess.crop=32", "model.name=resnet18"]
    assert cs.plan(cs.load_recipe("digits", small), num_samples=100).params == 11_181_642


SINGLE = ("augment.random_crop.size=32", "preprocess.resize=32", "preprocess.crop=32", "model.name=resnet18")


@pytest.mark.parametrize("batch", [["batch.per_device=1"], ["batch.size=1"]])
def test_batch_norm_that_would_see_single_values_is_an_error(batch: list[str]) -> None:
    with pytest.raises(cs.ConvsmithError, match=r"one image of 32x32 pixels at a time.*\nSet batch.per_device to 2"):
        cs.plan(cs.load_recipe("digits", [*SINGLE, *batch]), num_samples=100)


@pytest.mark.parametrize("change", ["model.name=cifar_resnet20", "freeze.names=backbone", "batch.per_device=2"])
def test_single_images_are_planned_where_they_can_be_learned_from(change: str) -> None:
    recipe = cs.load_recipe("digits", [*SINGLE, "batch.per_device=1", change])
    assert cs.plan(recipe, num_samples=100).per_device_batch <= 2


def test_images_that_the_model_cannot_take_are_an_error() -> None:
    small = ["augment.random_crop.size=16", "preprocess.resize=16", "preprocess.crop=16", "model.name=convnext_tiny"]
    with pytest.raises(cs.ConvsmithError, match="images of 16x16 pixels are too small"):
        cs.plan(cs.load_recipe("digits", small), num_samples=100)
