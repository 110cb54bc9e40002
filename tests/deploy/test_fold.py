"""What the ONNX graphs are made of: the fewest operations, not only the right answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.bundle.runtime import Infer, OnnxRuntime
from convsmith.deploy.calibration import calibrate
from convsmith.deploy.fold import fold_constants
from convsmith.deploy.graph import Graph
from convsmith.deploy.onnx_export import export_onnx, inference_model, with_fixed_size
from convsmith.deploy.qdq import insert_qdq, place
from convsmith.models.families.convnext import ConvNeXtBlock
from convsmith.models.families.hrnet import HighResolutionModule
from convsmith.models.families.resnest import SplitAttention
from convsmith.models.families.resnet import BasicBlock, Bottleneck
from convsmith.spec import Preprocess, Preprocessing, WholeImage
from tests.models.every import live
from tests.tasks.tiny_segmenter import TinySegmenter

SQUARE = Preprocess(resize=64, crop=64)


def exported(model: nn.Module, spec: Preprocessing = SQUARE, **options: Any) -> tuple[nn.Module, bytes]:
    exact = inference_model(model, spec)
    return exact, export_onnx(exact, (64, 64), **options)


def operations(content: bytes) -> Counter[str]:
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    used = {name for node in model.graph.node for name in node.input}
    assert {initializer.name for initializer in model.graph.initializer} <= used
    assert __file__.rpartition("/tests/")[0].encode() not in content  # nothing says where it was made
    return Counter(node.op_type for node in model.graph.node)


def assert_says_the_same(exact: nn.Module, content: bytes, size: tuple[int, int] = (64, 64)) -> None:
    batch = np.random.RandomState(0).randint(0, 256, (2, 3, *size), np.uint8)
    with torch.inference_mode():
        expected = exact(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(OnnxRuntime(content, 1).run(batch), expected, atol=1e-4 * max(1, np.abs(expected).max()))


def count_of(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


def after_convolution(*layers: nn.Module) -> nn.Module:
    """Part of a network, with weights that let an error show."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *layers)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
    return model


def test_a_residual_block_is_convolutions_additions_and_relus() -> None:
    exact, content = exported(after_convolution(BasicBlock(8, 8), Bottleneck(8, 4)))
    assert operations(content) == {"Cast": 1, "Conv": 7, "Relu": 5, "Add": 3}  # two blocks, the normalisation's shift
    assert_says_the_same(exact, content)


def test_a_convnext_block_has_one_gelu_and_one_norm_and_no_factor_is_left() -> None:
    block = ConvNeXtBlock(8, drop_path=0.3, layer_scale_init_value=0.5)
    assert block.gamma is not None
    nn.init.uniform_(block.gamma)
    exact, content = exported(after_convolution(block))
    found = operations(content)
    assert found.pop("Transpose") == 2
    assert found == {"Cast": 1, "Conv": 2, "LayerNormalization": 1, "MatMul": 2, "Gelu": 1, "Add": 4}
    assert_says_the_same(exact, content)


def test_split_attention_is_a_handful_of_small_operations() -> None:
    exact, content = exported(after_convolution(SplitAttention(8, stride=1, radix=2, cardinality=1)))
    found = operations(content)
    assert found["Conv"] == 4
    assert (found["Split"], found["Softmax"], found["Mul"], found["ReduceMean"]) == (1, 1, 2, 1)
    assert found["BatchNormalization"] == 0
    assert_says_the_same(exact, content)


class _Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fuse = HighResolutionModule([8, 16], partial(F.interpolate, mode="bilinear"))
        self.down = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.fuse.branches = nn.ModuleList(nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        high, _ = self.fuse([x, self.down(x)])
        y: Tensor = high
        return y


def test_hrnets_branches_meet_by_one_resize_each() -> None:
    exact, content = exported(after_convolution(_Branches()), WholeImage(method="whole"), any_size=True)
    assert operations(content)["Resize"] == 1
    assert_says_the_same(exact, content, (61, 90))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small-resnet", "small-convnext", "small-resnest", "mobilenet_v2"])
def test_whole_networks_keep_no_norm_and_no_factor_but_the_attentions(name: str) -> None:
    model = live(name)
    exact, content = exported(model)
    found = operations(content)
    assert found["Conv"] == count_of(model, nn.Conv2d)
    assert (found["BatchNormalization"], found["Div"], found["Erf"]) == (0, 0, 0)
    assert found["LayerNormalization"] == count_of(model, nn.LayerNorm)
    assert found["Gelu"] == count_of(model, nn.GELU)
    assert found["Mul"] == 2 * count_of(model, SplitAttention)
    assert_says_the_same(exact, content)


@pytest.mark.slow
def test_hrnet_has_one_resize_for_each_upsampling_and_constant_shapes_where_the_size_is_fixed() -> None:
    exact, free = exported(live("hrnet_w18_seg"), WholeImage(method="whole"), any_size=True)
    upsamplings = 1 + 4 * 3 + 3 * 6 + 3 + 1  # between the branches of 1, 4 and 3 modules, before and after the head
    assert operations(free)["Resize"] == upsamplings
    fixed = with_fixed_size(free, (64, 96))
    found = operations(fixed)
    assert found["Resize"] == upsamplings
    assert set(found) == {"Cast", "Conv", "Add", "Relu", "Concat", "Resize"}
    assert found["Concat"] == 1  # of the branches, before the head
    assert_says_the_same(exact, free, (61, 90))
    assert_says_the_same(exact, fixed, (64, 96))


def test_fixing_the_size_leaves_no_shape_to_compute() -> None:
    exact, free = exported(live_segmenter(), WholeImage(method="whole"), any_size=True)
    fixed = with_fixed_size(free, (40, 72))
    found = operations(fixed)
    assert (found["Resize"], found["Shape"], found["Concat"]) == (1, 0, 0)
    assert_says_the_same(exact, fixed, (40, 72))


def test_upsampling_for_one_size_is_told_it_as_constants() -> None:
    exact, content = exported(after_convolution(_Branches()), WholeImage(method="whole"))
    graph = onnx.load_from_string(content).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor).tolist() for tensor in graph.initializer}
    resize = next(node for node in graph.node if node.op_type == "Resize")
    assert constants[resize.input[2]] == [1, 1, 2, 2]
    assert_says_the_same(exact, content)


@pytest.mark.parametrize(("of", "end", "left"), [("x", 2, 0), ("other", 2, 1), ("x", 1, 1)])
def test_sizes_of_which_only_those_that_an_upsampling_keeps_vary_become_scales(of: str, end: int, left: int) -> None:
    rest = [6, 10] if end == 2 else [4, 6, 10]
    graph = onnx.parser.parse_graph(
        f"""g (float[n,4,3,5] x, float[m,2,3,5] other) => (float[a,b,c,d] y)
        <int64[{len(rest)}] rest = {{{", ".join(map(str, rest))}}}> {{
            kept = Shape <start: int = 0, end: int = {end}> ({of})
            sizes = Concat <axis: int = 0> (kept, rest)
            y = Resize <mode: string = "linear"> (x, , , sizes)
        }}"""
    )
    model = onnx_ir.from_proto(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)]))
    fold_constants(model)
    assert Counter(node.op_type for node in model.graph)["Shape"] == left


@pytest.mark.parametrize(
    ("constant", "empty", "name"),
    [("int64[4] sizes = {1, 4, 6, 10}", ", , ", "sizes"), ("float[4] scales = {1, 1, 2, 2}", ", ", "scales")],
)
def test_sizes_and_scales_that_are_constants_stay(constant: str, empty: str, name: str) -> None:
    graph = onnx.parser.parse_graph(
        f"""g (float[1,4,3,5] x) => (float[1,4,6,10] y) <{constant}> {{
            y = Resize <mode: string = "linear"> (x, {empty}{name})
        }}"""
    )
    model = onnx_ir.from_proto(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)]))
    fold_constants(model)
    (resize,) = model.graph
    assert [it.name for it in resize.inputs if it is not None] == ["x", name]


@pytest.mark.parametrize("any_size", [True, False])
def test_onnxruntime_takes_upsampling_between_int8_convolutions(any_size: bool) -> None:
    _, content = exported(after_convolution(_Branches()), WholeImage(method="whole"), any_size=any_size)
    graph = Graph.load(content)
    placement = place(graph)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)

    def feed(run: Infer) -> None:
        run(images)

    ranges = calibrate(graph, placement.rounded, feed)["minmax"]
    runtime = OnnxRuntime(insert_qdq(graph, placement, ranges))
    assert runtime.run(images).shape == OnnxRuntime(content).run(images).shape


def live_segmenter() -> nn.Module:
    torch.manual_seed(0)
    return TinySegmenter(num_classes=5)


class _Head(nn.Module):
    """One convolution, in which an error at the border shows."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, **options)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"padding": 0}, 0),
        ({"padding": 0, "bias": False}, 0),
        ({"padding": 1}, 1),
        ({"padding": (0, 1), "bias": False}, 1),
        ({"padding": 1, "stride": 2, "dilation": 2}, 1),
        ({"padding": 1, "padding_mode": "reflect"}, 2),
    ],
)
def test_normalisation_is_folded_as_far_as_the_border_allows(options: dict[str, Any], left: int) -> None:
    exact, content = exported(_Head(**options))
    found = operations(content)
    assert found["Mul"] + found["Add"] == left
    assert_says_the_same(exact, content)


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: self.conv(x) + x.mean(),  # the normalised image is used elsewhere too
        lambda self, x: self.conv(x * x),
        lambda self, x: x * self.conv.weight[0, 0, 0, 0] + 1,
    ],
)
def test_what_only_looks_like_it_stays_right(forward: Callable[[Any, Tensor], Tensor]) -> None:
    class Other(_Head):
        def forward(self, x: Tensor) -> Tensor:
            return forward(self, x)

    exact, content = exported(Other())
    assert_says_the_same(exact, content)


class _Perceptron(nn.Module):
    def __init__(self, scale_at: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(64, 8)
        self.scale = nn.Parameter(torch.rand(8))
        self.scale_at = scale_at

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        if self.scale_at == "here and there":
            return y * self.scale + y
        scaled = y * (self.scale[0] if self.scale_at == "all" else self.scale)
        return scaled if self.scale_at == "the end" else scaled.relu()


@pytest.mark.parametrize(("scale_at", "left"), [("columns", 0), ("here and there", 1), ("all", 1), ("the end", 1)])
def test_the_factor_of_a_linear_layers_columns_is_folded(scale_at: str, left: int) -> None:
    exact, content = exported(_Perceptron(scale_at))
    assert operations(content)["Mul"] == left + 1  # the normalisation's, before no convolution
    assert_says_the_same(exact, content)


def test_folding_twice_changes_nothing_more() -> None:
    _, content = exported(_Head(padding=1))
    model = onnx_ir.from_proto(onnx.load_from_string(content))
    fold_constants(model)
    assert operations(onnx_ir.to_proto(model).SerializeToString()) == operations(content)
