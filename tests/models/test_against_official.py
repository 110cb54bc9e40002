"""Our models against numbers of the official code, which each golden file names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.models.golden import (
    OFFICIAL,
    assert_outputs,
    golden,
    golden_input,
    in_training,
    official,
    ours,
    training_loss,
)

WITH_TRAINING = [name for name in OFFICIAL if "train" in golden(name)]
# a ResNet, with an auxiliary head, and a ResNeSt take a step with the quick tests
SLOW_TO_TRAIN = ("convnext_tiny", "seg_hrnet_w48", "resnet50", "upernet_r18b")
HAVE_A_SMALLER_ONE = (
    "cls_hrnet_w48",
    "convnext_base_21841",
    "convnext_small",
    "fcn_r50b_d8",
    "resnest101",
    "resnest200",
    "resnet101",
    "seg_hrnet_w48",  # the one with OCR has all of it and a larger head
    "upernet_convnext_tiny",  # UPerNet is checked on a ResNet, the backbone by itself
    "wide_resnet50_2",
)


def slow_if_large(names: Iterable[str], *more: str) -> list[Any]:
    """The names, those marked of which a smaller model of the family is checked with the quick tests, and `more`."""
    slow = {*HAVE_A_SMALLER_ONE, *more}
    return [pytest.param(name, marks=[pytest.mark.slow] if name in slow else []) for name in names]


@pytest.mark.parametrize("name", OFFICIAL)
def test_state_dict_has_the_official_names_and_shapes_in_order(name: str) -> None:
    with torch.device("meta"):
        model = ours(name)
    own = [[key, list(value.shape)] for key, value in model.state_dict().items()]
    assert own == golden(name)["keys"]


@pytest.mark.parametrize("name", slow_if_large(OFFICIAL))
@torch.inference_mode()
def test_logits_equal_the_official_ones(name: str) -> None:
    model, expected = official(name), golden(name)
    for record in (expected, *expected.get("eval_extra", ())):
        assert_outputs(model(golden_input(record["input_shape"], record.get("input_scale") or 1.0)), record)


# test_facts compares what facts.json says of all of them with the same numbers
@pytest.mark.parametrize("name", slow_if_large(OFFICIAL, "seg_hrnet_ocr_w48"))
def test_parameters_and_multiply_adds_are_the_published_ones(name: str) -> None:
    expected = golden(name)
    with torch.device("meta"):
        model = ours(name).eval()
    assert sum(p.numel() for p in model.parameters()) == expected["params"]
    sizes = {"x".join(map(str, expected["input_size"])): expected["gmacs"], **expected.get("gmacs_at", {})}
    for size, gmacs in sizes.items():
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            model(torch.empty(1, 3, *map(int, size.split("x")), device="meta"))
        assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, rel=1e-7)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW_TO_TRAIN else []) for name in WITH_TRAINING],
)
def test_a_training_step_equals_the_official_one(name: str) -> None:
    expected = golden(name)
    step = expected["train"]
    model = in_training(name)
    images = golden_input(expected["input_shape"]).double()

    loss0 = training_loss(model(images), expected)
    statistics = {
        kind: sum(value.abs().sum().item() for key, value in model.named_buffers() if key.endswith(kind))
        for kind in ("running_mean", "running_var")
        if f"{kind}_abs_sum" in step["float64"]  # ConvNeXt has none
    }
    loss0.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    torch.optim.SGD(model.parameters(), lr=step["lr"]).step()
    loss1 = training_loss(model(images), expected)

    tolerance = step["rel_tol_f64"]
    assert loss0.item() == pytest.approx(step["float64"]["loss0"], rel=tolerance)
    assert norm.item() == pytest.approx(step["float64"]["grad_norm"], rel=tolerance)
    assert loss1.item() == pytest.approx(step["float64"]["loss1"], rel=tolerance)
    for kind, total in statistics.items():
        assert total == pytest.approx(step["float64"][f"{kind}_abs_sum"], rel=tolerance)
