"""What a recipe does to the model: once, and at the start of each epoch."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._C._distributed_c10d import HashStore
from torch._dynamo.testing import CompileCounter

import convsmith as cs
from convsmith.models.base import VisionModel
from convsmith.models.layers import DropBlock, DropPath
from convsmith.models.registry import create_model
from convsmith.recipe.make_plan import make_plan
from convsmith.recipe.optimization import Ramp
from convsmith.training.model_plan import build_model
from convsmith.training.update.tricks import EachEpoch, prepare, ramp_value, synchronise_batch_norm
from tests.training.tiny_model import TinyNet

GOLDEN = json.loads((Path(__file__).parents[1] / "goldens/dropblock.json").read_text())


def begun(model: VisionModel, epochs: int, *overrides: str) -> EachEpoch:
    """What the trainer makes of a model."""
    recipe = cs.load_recipe("digits", ["schedule.warmup_epochs=0", f"schedule.epochs={epochs}", *overrides])
    prepare(model, recipe)
    return EachEpoch(model, recipe, make_plan(recipe, 64))


@pytest.mark.parametrize("case", GOLDEN["schedule"])
def test_a_ramp_is_that_of_resnests_dropblock(case: dict[str, Any]) -> None:
    asked = case["in"]
    ramp = Ramp(start=asked["start_prob"], end=asked["end_prob"])
    found = [ramp_value(ramp, epoch, asked["num_epochs"]) for epoch in range(asked["num_epochs"])]
    assert found == pytest.approx(case["out"]["drop_prob_of_epoch"], rel=1e-12, abs=1e-17)


def test_a_drop_path_ramp_scales_every_blocks_own_rate() -> None:
    overrides = ["model.name=convnext_tiny", "model.drop_path.start=0", "model.drop_path.end=0.34"]
    with torch.device("meta"):
        model = build_model(cs.load_recipe("digits", overrides))
    each_epoch = begun(model, 4, *overrides)
    paths = [module for module in model.modules() if isinstance(module, DropPath)]
    for epoch in range(4):
        each_epoch.begin(epoch)
        last = 0.34 * (epoch + 1) / 4
        assert [path.drop_prob for path in paths] == pytest.approx([last * i / 17 for i in range(18)])


def test_a_falling_drop_path_ramp_begins_high_and_ends_at_nothing() -> None:
    overrides = ["model.name=convnext_tiny", "model.drop_path.start=0.2", "model.drop_path.end=0"]
    with torch.device("meta"):
        model = build_model(cs.load_recipe("digits", overrides))
    each_epoch = begun(model, 4, *overrides)
    last = [module for module in model.modules() if isinstance(module, DropPath)][-1]
    rates = []
    for epoch in range(4):
        each_epoch.begin(epoch)
        rates.append(last.drop_prob)
    assert rates == pytest.approx([0.15, 0.1, 0.05, 0])


def test_a_drop_block_ramp_gives_all_layers_the_same() -> None:
    model = TinyNet()
    each_epoch = begun(model, 10, "model.drop_block.end=0.1")
    each_epoch.begin(4)
    assert {module.drop_prob for module in model.modules() if isinstance(module, DropBlock)} == {0.05}


def test_a_ramp_without_layers_is_an_error() -> None:
    with pytest.raises(cs.ConvsmithError, match=r"`cifar_resnet20` has no DropBlock: model\.drop_block cannot ramp it"):
        cs.plan(cs.load_recipe("digits", ["model.drop_block.end=0.1"]), 100)
    with pytest.raises(cs.ConvsmithError, match="`cifar_resnet20` has no option `drop_path`"):
        cs.plan(cs.load_recipe("digits", ["model.drop_path.end=0.1"]), 100)
    recipe = cs.load_recipe("digits", ["model.drop_path.end=0.1"])
    with pytest.raises(cs.ConvsmithError, match=r"`cifar_resnet20` has no DropPath: model\.drop_path cannot ramp it"):
        prepare(create_model("cifar_resnet20"), recipe)


def test_batch_norms_take_the_recipes_momentum() -> None:
    model = TinyNet()
    begun(model, 1, "model.batch_norm_momentum=0.25")
    assert {module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {0.25}


def test_batch_norm_is_synchronised_where_there_are_other_gpus(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "convsmith"):
        alone = synchronise_batch_norm(TinyNet(), torch.device("cuda"))
    assert "BatchNorm is not synchronised" in caplog.text
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in alone.modules())
    torch.distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        model = synchronise_batch_norm(TinyNet(), torch.device("cuda"))
    finally:
        torch.distributed.destroy_process_group()
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 3
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    assert model.state_dict().keys() == TinyNet().state_dict().keys()


def test_a_frozen_backbone_keeps_weights_and_statistics_and_the_head_learns() -> None:
    model = TinyNet()
    each_epoch = begun(model, 2, "freeze.names=backbone")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    each_epoch.begin(1)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    model(torch.randn(4, 3, 9, 9)).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    ("name", "head"), [("torchvision/resnet18", "model.fc."), ("timm/test_convnext", "model.head.fc.")]
)
def test_a_frozen_backbone_of_another_library_leaves_its_head_to_learn(name: str, head: str) -> None:
    probe = cs.plan(cs.load_recipe("digits", [f"model.name={name}", "freeze.names=backbone"]), 100)
    assert probe.groups is not None
    assert {name for group in probe.groups for name in group.names} == {f"{head}weight", f"{head}bias"}


def test_freezing_ends_after_its_epochs() -> None:
    model = TinyNet()
    each_epoch = begun(model, 3, "freeze.names=['bn1.*','layer1.0.*']", "freeze.epochs=2")
    for epoch, is_frozen in enumerate((True, True, False)):
        model.eval()  # as an evaluation leaves it
        each_epoch.begin(epoch)
        learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        kept = {"bn1.weight", "bn1.bias", "layer1.0.conv.weight", "layer1.0.bn.weight", "layer1.0.bn.bias"}
        assert learning == {name for name, _ in model.named_parameters()} - (kept if is_frozen else set())
        norms = [model.bn1, model.get_submodule("layer1.0.bn"), model.get_submodule("layer1.1.bn")]
        assert [norm.training for norm in norms] == [not is_frozen, not is_frozen, True]
        assert model.get_submodule("layer1.0").training


def test_what_never_learns_is_no_part_of_the_plan_and_what_learns_later_is() -> None:
    whole = cs.plan(cs.load_recipe("digits"), 100)
    probe = cs.plan(cs.load_recipe("digits", ["freeze.names=backbone"]), 100)
    assert probe.groups is not None
    assert [group.names for group in probe.groups] == [("linear.weight", "linear.bias")]
    assert probe.params == 650
    assert probe.memory_bytes is not None
    assert whole.memory_bytes is not None
    assert probe.memory_bytes < whole.memory_bytes
    later = cs.plan(cs.load_recipe("digits", ["freeze.names=backbone", "freeze.epochs=1"]), 100)
    assert replace(later, freeze=None) == whole


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("['conv1.weights']", "no parameter of the model is called `conv1.weights`; did you mean `conv1.weight`"),
        ("['*']", "freezes every parameter"),
    ],
)
def test_names_that_freeze_nothing_or_everything_are_errors(names: str, message: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=message):
        cs.plan(cs.load_recipe("digits", [f"freeze.names={names}"]), 100)


def test_gradient_checkpointing_keeps_the_inputs_of_blocks_and_all_of_one() -> None:
    plain, checkpointed = (
        cs.plan(cs.load_recipe("digits", ["precision=fp32", f"model.gradient_checkpointing={on}"]), 100).memory_bytes
        for on in ("false", "true")
    )
    assert checkpointed is not None
    assert plain is not None
    map_16 = 64 * 16 * 32 * 32 * 4
    # of nine blocks: the first is kept whole, six maps or more; of the three blocks of each stage only the inputs
    assert 3 * map_16 * (1 + 1 / 2 + 1 / 4) + 4 * map_16 < checkpointed < plain / 1.6


def test_a_compiled_model_is_compiled_once_for_all_values_of_a_ramp() -> None:
    model = TinyNet(drop_path=0.4)
    each_epoch = begun(
        model,
        4,
        "model.drop_path.start=0.1",
        "model.drop_path.end=0.4",
        "model.drop_block.start=0.1",
        "model.drop_block.end=0.3",
    )
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter)
    for epoch in range(4):
        each_epoch.begin(epoch)
        compiled(torch.randn(2, 3, 9, 9))
    assert counter.frame_count == 1
