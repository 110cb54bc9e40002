"""A model of a few kB that would compute for days, or fill any memory, is refused before any of it is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from convsmith.bundle.onnx_work import Work
from convsmith.bundle.predictor import load
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy.quantize import read_float
from convsmith.errors import ConvsmithError
from tests.colours import SIDE, colour_model, write_colour_bundle

MANY = 200


def adding(nodes: list[NodeProto], **tensors: Any) -> bytes:
    """The colour model, to whose logits `x` is added, averaged: what some nodes make of tensors and of `floats`."""
    model = onnx.load_from_string(colour_model())
    graph = model.graph
    graph.node[-1].output[0] = "before"
    graph.node.extend(
        [*nodes, helper.make_node("ReduceMean", ["x"], ["one"], keepdims=0), node("Add", "before one", "logits")]
    )
    graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in tensors.items())
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    content: bytes = model.SerializeToString()
    return content


def node(operator: str, inputs: str, outputs: str = "x", **attributes: Any) -> NodeProto:
    """An operation on values whose names are words."""
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def floats(*shape: int) -> bytes:
    """As many numbers as a tensor of a shape has, each of them made by one operation."""
    return adding([node("ConstantOfShape", "shape")], shape=shape)


def in_a_row(operator: str, count: int, start: list[NodeProto], **attributes: Any) -> list[NodeProto]:
    """An operation of what `start` names `0` with itself, of its result with itself, and so on."""
    nodes = [node(operator, f"{i} {i}", str(i + 1), **attributes) for i in range(count)]
    return [*start, *nodes, node("Cast", str(count), to=TensorProto.FLOAT)]


def products(side: int, count: int = MANY, add: str = "") -> bytes:
    start = [node("ConstantOfShape", "shape", "ones"), node("Sum", f"ones {add}", "0")]
    if add:
        start.insert(0, node("ReduceMean", "floats", add, keepdims=0))
    return adding(in_a_row("MatMul", count, start), shape=[side, side])


def doubling(count: int, operator: str) -> bytes:
    start = [node("ConstantOfShape", "shape", "0")] if operator == "Concat" else [node("Shape", "images", "0")]
    return adding(in_a_row("Concat", count, start, axis=0), shape=[1])


def of_the_image(*nodes: NodeProto, **tensors: Any) -> bytes:
    """Operations on `row`, the 192 numbers of the image, as a row."""
    row = node("Reshape", "floats as_a_row", "row")
    return adding([row, *nodes], as_a_row=[1, -1], **tensors)


def attention(heads: str, *more: str, **attributes: Any) -> bytes:
    """Attention of 8 heads among 12,000 positions of 8 numbers."""
    content = of_the_image(
        node("Reshape", "row three", "positions"),
        node("Tile", "positions times", "many"),
        node("Attention", f"many {' '.join(more)}", **{heads: 8}, **attributes),
        three=[1, 24, 8],
        times=[1, 500, 1],
        weights_=np.ones((8, 24), np.float32),
        bias=np.ones(24, np.float32),
    )
    model = onnx.load_from_string(content)
    model.opset_import[0].version = 23
    newer: bytes = model.SerializeToString()
    return newer


WORK, MEMORY, CONSTANTS = "multiply-adds for 64 pixels", "GiB for 64 pixels", "multiply-adds of constants"
ONE_BY_ONE = np.ones((1, 1, 1, 1), np.float32)
MODELS: dict[str, tuple[Callable[[], bytes], str]] = {
    "products of constants": (lambda: products(3000), CONSTANTS),
    "products of the image": (lambda: products(3000, add="mean"), WORK),
    "small products without end": (lambda: products(500, 3_000, add="mean"), WORK),
    "a constant": (lambda: floats(2**34), f"{MEMORY}|{CONSTANTS}"),
    "a constant that no memory takes": (lambda: floats(2**31, 2**31), f"{MEMORY}|{CONSTANTS}|cannot load"),
    "a constant that nothing can count": (lambda: floats(2**40, 2**40), CONSTANTS),
    "many constants": (
        lambda: adding(
            [
                *(node("ConstantOfShape", "shape", f"c{i}") for i in range(300)),
                *(node("ReduceMax", f"c{i}", f"m{i}", keepdims=0) for i in range(300)),
                node("Sum", " ".join(f"m{i}" for i in range(300))),
            ],
            shape=[1_000_000],
        ),
        f"{MEMORY}|{CONSTANTS}",
    ),
    "doubling": (lambda: doubling(34, "Concat"), f"{MEMORY}|{CONSTANTS}"),
    "doubling of a shape": (lambda: doubling(34, "Shape"), "a shape of more than 1,024 numbers"),
    "a shape of a doubled constant": (
        lambda: adding(
            [
                *(node("Concat", f"{i} {i}", str(i + 1), axis=0) for i in range(30)),
                node("ConstantOfShape", "30"),
            ],
            **{"0": [1]},
        ),
        "depends on more than that of the image",
    ),
    "random numbers": (lambda: adding([node("RandomNormal", "", shape=[2**17, 2**17])]), f"{MEMORY}|{CONSTANTS}"),
    "random numbers like others": (
        lambda: of_the_image(node("Expand", "row wide", "y"), node("RandomNormalLike", "y"), wide=[2**30, 192]),
        f"{WORK}|{MEMORY}",
    ),
    "a range": (
        lambda: adding(
            [node("Range", "zero many one_", "r"), node("Cast", "r", to=TensorProto.FLOAT)],
            zero=np.array(0),
            many=np.array(2**40),
            one_=np.array(1),
        ),
        f"{MEMORY}|{CONSTANTS}",
    ),
    "a range of the image": (
        lambda: of_the_image(
            node("ReduceMax", "row", "m", keepdims=0),
            node("Range", "zero m one_"),
            zero=np.float32(0),
            one_=np.float32(1),
        ),
        "of what its Range gives depends on more",
    ),
    "a constant as large as the image says": (
        lambda: of_the_image(
            node("Cast", "row", "size", to=TensorProto.INT64),
            node("Squeeze", "size", "flat"),
            node("ConstantOfShape", "flat"),
        ),
        f"depends on more than that of the image|{MEMORY}|cannot load",
    ),
    "an enlargement": (
        lambda: adding(
            [node("Resize", "floats none_ scales")],
            none_=np.zeros(0, np.float32),
            scales=np.array([1, 1, 1e4, 1e4], np.float32),
        ),
        f"{WORK}|{MEMORY}",
    ),
    "a tiling": (lambda: adding([node("Tile", "floats times")], times=[1, 1, 10_000, 10_000]), f"{WORK}|{MEMORY}"),
    "a padding": (
        lambda: adding([node("Pad", "floats pads")], pads=[0, 0, 0, 0, 0, 0, 100_000, 100_000]),
        f"{WORK}|{MEMORY}",
    ),
    "an expansion": (lambda: adding([node("Expand", "floats wide")], wide=[10**9, 3, 8, 8]), f"{WORK}|{MEMORY}"),
    "a large kernel": (
        lambda: adding(
            [
                node("Pad", "floats pads", "padded"),
                node("ConstantOfShape", "kernel", "weights_"),
                node("Conv", "padded weights_"),
            ],
            pads=[0, 0, 0, 0, 0, 0, 4_000, 4_000],
            kernel=[1, 3, 2_000, 2_000],
        ),
        WORK,
    ),
    "a large kernel of a pool": (
        lambda: adding(
            [
                node("Pad", "floats pads", "padded"),
                node("AveragePool", "padded", kernel_shape=[2_000, 2_000]),
            ],
            pads=[0, 0, 0, 0, 0, 0, 4_000, 4_000],
        ),
        WORK,
    ),
    "attention of many heads": (lambda: attention("q_num_heads", "many", "many", kv_num_heads=8), MEMORY),
    "attention of onnxruntime's own": (
        lambda: attention("num_heads", "weights_", "bias", domain="com.microsoft"),
        MEMORY,
    ),
    "an LRN of constants": (
        lambda: adding([node("LRN", "few", size=2**40)], few=np.ones((1, 1, 1, 1), np.float32)),
        "an LRN of more than 1,024 channels",
    ),
    "an LRN that takes memory": (
        lambda: adding(
            [node("Pad", "floats pads", "padded"), node("LRN", "padded", size=1023)],
            pads=[0, 0, 0, 0, 0, 0, 2_000, 2_000],
        ),
        MEMORY,
    ),
    "a transposed convolution": (
        lambda: adding(
            [
                node("ReduceMean", "floats channels", "grey"),
                node("ConvTranspose", "grey weight_", strides=[9_000, 9_000]),
            ],
            channels=[1],
            weight_=ONE_BY_ONE,
        ),
        f"{WORK}|{MEMORY}",
    ),
    "an Einsum": (
        lambda: of_the_image(node("Einsum", "row row row row", equation="ab,ac,ad,ae->bcde")),
        f"{WORK}|{MEMORY}",
    ),
    "an Einsum that adds up": (
        lambda: of_the_image(node("Einsum", "row row row row row", equation="zb,zc,...d,ae,xf->")),
        f"{WORK}|{MEMORY}",
    ),
    "outer products": (
        lambda: of_the_image(
            node("Reshape", "row down", "column"),
            node("Mul", "row column", "square"),
            node("Reshape", "square down", "long"),
            node("Reshape", "square as_a_row", "wide"),
            node("Mul", "long wide"),
            down=[-1, 1],
        ),
        f"{WORK}|{MEMORY}",
    ),
    "boxes that are compared": (
        lambda: adding(
            [
                node("Expand", "quarter many", "boxes"),
                node("ReduceMean", "boxes last", "scores_", keepdims=0),
                node("Unsqueeze", "scores_ middle", "scores"),
                node("NonMaxSuppression", "boxes scores", "chosen"),
                node("Cast", "chosen", to=TensorProto.FLOAT),
            ],
            quarter=np.ones((1, 1, 4), np.float32),
            many=[1, 5_000_000, 4],
            last=[2],
            middle=[1],
        ),
        f"depends on more than that of the image|{CONSTANTS}",
    ),
    "a custom operation": (lambda: adding([node("Own", "floats", domain="own")]), "cannot load"),
    "operations before what they need": (
        lambda: adding([node("Exp", "y"), node("Exp", "floats", "y")]),
        "not in the order in which they are computed",
    ),
    "operations without end": (
        lambda: adding([node("Exp", "floats"), *(node("Exp", "x", f"y{i}") for i in range(20_000))]),
        "more than 20,000 operations",
    ),
}


@pytest.mark.parametrize("what", MODELS)
def test_it_is_refused_before_it_is_opened(what: str, tmp_path: Path) -> None:
    make, reason = MODELS[what]
    bundle = write_colour_bundle(tmp_path / "b", make())
    with pytest.raises(ConvsmithError, match=reason):
        load(bundle)


@pytest.mark.parametrize("what", ["products of constants", "an enlargement", "doubling of a shape"])
def test_openvino_does_not_open_it_either(what: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    make, reason = MODELS[what]
    with pytest.raises(ConvsmithError, match=reason):
        load(write_colour_bundle(tmp_path / "b", make()), runtime="openvino")


@pytest.mark.parametrize("what", ["products of constants", "doubling of a shape"])
def test_it_is_not_quantized(what: str, tmp_path: Path) -> None:
    make, reason = MODELS[what]
    with pytest.raises(ConvsmithError, match=reason):
        read_float(write_colour_bundle(tmp_path / "b", make()))


def any_size() -> bytes:
    """A model that compares each pixel with each other one."""
    model = onnx.load_from_string(
        adding(
            [
                node("ReduceMean", "floats channels", "grey", keepdims=0),
                node("Reshape", "grey as_rows", "rows"),
                node("Reshape", "grey as_columns", "columns"),
                node("MatMul", "columns rows"),
            ],
            channels=[1],
            as_rows=[0, 1, -1],
            as_columns=[0, -1, 1],
        )
    )
    for number, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[number].dim_param = name
    content: bytes = model.SerializeToString()
    return content


def test_it_is_weighed_again_for_larger_images() -> None:
    runtime = OnnxRuntime(any_size())
    runtime.run(np.zeros((1, 3, 64, 64), np.uint8))
    with pytest.raises(ConvsmithError, match="for 1,048,576 pixels"):
        runtime.run(np.zeros((1, 3, 1024, 1024), np.uint8))


def test_it_is_weighed_again_for_one_image_as_large_as_many() -> None:
    work = Work(any_size())
    work.check((8, 3, 64, 64))
    with pytest.raises(ConvsmithError, match="for 32,768 pixels"):
        work.check((1, 3, 128, 256))


def test_who_trusts_it_lifts_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = products(700, 1, add="mean")
    monkeypatch.setenv("CONVSMITH_MODEL_LIMIT", "0.001")
    with pytest.raises(ConvsmithError, match="CONVSMITH_MODEL_LIMIT"):
        Work(model)
    monkeypatch.setenv("CONVSMITH_MODEL_LIMIT", "0")
    Work(model)


def test_a_large_image_does_not_excuse_more_than_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(any_size())
    work.check((1, 3, 64, 64))
    monkeypatch.setattr("convsmith.machine.memory", lambda: 2**20)
    with pytest.raises(ConvsmithError, match="GiB for 16,384 pixels"):
        work.check((2, 3, 128, 64))


@pytest.mark.parametrize("shape", [[], [1, 3], [1, 3, 8, 8, 8]])
def test_a_model_whose_input_is_not_images_is_refused(shape: list[int]) -> None:
    model = onnx.load_from_string(colour_model())
    model.graph.input[0].type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto())
    for side in shape:
        model.graph.input[0].type.tensor_type.shape.dim.add().dim_value = side
    with pytest.raises(ConvsmithError, match=r"its input is not of images \[N, C, H, W\]"):
        OnnxRuntime(model.SerializeToString())


def test_a_limit_that_is_not_a_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_MODEL_LIMIT", "much")
    with pytest.raises(ConvsmithError, match="CONVSMITH_MODEL_LIMIT is `much`"):
        Work(colour_model())


def test_a_model_may_split_its_channels_into_many_groups() -> None:
    parts = " ".join(f"part{i}" for i in range(48))
    groups = [node("Split", "row sizes", parts, axis=1), node("Concat", parts, axis=1)]
    OnnxRuntime(of_the_image(*groups, sizes=[4] * 48)).run(np.zeros((1, 3, SIDE, SIDE), np.uint8))


def test_a_model_of_images_is_light() -> None:
    Work(colour_model()).check((256, 3, SIDE, SIDE))
