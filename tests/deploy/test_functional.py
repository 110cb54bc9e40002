"""Graphs of torch.export whose operations change no input."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn

from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy.functional import make_functional
from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.spec import Preprocess

Function = Callable[[Tensor], Tensor]


class _Module(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def traced(function: Function, x: Tensor) -> fx.GraphModule:
    module: fx.GraphModule = torch.export.export(_Module(function), (x,), strict=False).graph_module
    return module


def changing(module: fx.GraphModule) -> list[str]:
    targets = [node.target for node in module.graph.nodes]
    return [str(it) for it in targets if isinstance(it, torch._ops.OpOverload) and it._schema.is_mutable]


def one_after_another(x: Tensor) -> Tensor:
    return (2 * x).relu_().add_(x)


def taken_before_and_after(x: Tensor) -> Tensor:
    double = 2 * x
    before = double + 1
    double.relu_()
    between = double + before
    double.add_(x)
    return double * between


def a_sum_that_grows(x: Tensor) -> Tensor:
    total = x.abs()
    for _ in range(3):
        total += x
    return total


@pytest.mark.parametrize("function", [one_after_another, taken_before_and_after, a_sum_that_grows])
def test_what_is_computed_in_place_becomes_functions_that_say_the_same(function: Function) -> None:
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    module, wanted = traced(function, x), function(x)
    assert changing(module)
    assert make_functional(module)
    assert not changing(module)
    assert torch.equal(module(x)[0], wanted)


def a_part_is_changed(x: Tensor) -> Tensor:
    double = 2 * x
    double[0].relu_()
    return double


def a_part_is_kept(x: Tensor) -> Tensor:
    double = 2 * x
    first = double[0]
    double.relu_()
    return first


def a_part_is_kept_between(x: Tensor) -> Tensor:
    double = 2 * x
    double.relu_()
    first = double.view(-1)
    double.add_(1)
    return first


def another_name_is_kept(x: Tensor) -> Tensor:
    double = 2 * x
    same = nn.functional.dropout(double, training=False)
    double.relu_()
    return same


def the_input_is_changed(x: Tensor) -> Tensor:
    return x.relu_()


def the_type_is_kept(x: Tensor) -> Tensor:
    return (2 * x).add_(x.double())


@pytest.mark.parametrize(
    "function",
    [
        a_part_is_changed,
        a_part_is_kept,
        a_part_is_kept_between,
        another_name_is_kept,
        the_input_is_changed,
        the_type_is_kept,
    ],
)
def test_what_another_name_sees_change_is_left_to_the_exporter(function: Function) -> None:
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    module, wanted = traced(function, x.clone()), function(x.clone())
    assert not make_functional(module)
    assert torch.equal(module(x.clone())[0], wanted)


class _PoolsToFour(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def test_what_the_exporter_cannot_translate_is_decomposed_first() -> None:
    exact = inference_model(_PoolsToFour(), Preprocess(resize=8, crop=8))
    images = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    said = OnnxRuntime(export_onnx(exact, (8, 8))).run(images.numpy())
    assert torch.allclose(torch.from_numpy(said), exact(images), atol=1e-5)
