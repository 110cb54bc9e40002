"""Models of a few kB that would compute for days, or fill any memory; each beside what the error says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.colours import colour_model

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
    """A model that makes as many numbers as a tensor of a shape has, each by one operation."""
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


def samplings(count: int) -> bytes:
    """The image's channels, sampled so often at 16 million places, which all lie among four pixels."""
    nodes = [node("ConstantOfShape", "shape", "places")]
    for i in range(count):
        nodes += [
            node("GridSample", "floats places", f"sampled{i}"),
            node("ReduceMean", f"sampled{i}", f"{i}", keepdims=0),
        ]
    return adding([*nodes, node("Sum", " ".join(map(str, range(count))))], shape=[1, 4096, 4096, 2])


def attention(*more: str, **attributes: Any) -> bytes:
    """Attention among 12,000 positions of 8 numbers."""
    content = of_the_image(
        node("Reshape", "row three", "positions"),
        node("Tile", "positions times", "many"),
        node("Attention", f"many {' '.join(more)}", **attributes),
        three=[1, 24, 8],
        times=[1, 500, 1],
        weights_=np.ones((8, 24), np.float32),
        bias=np.ones(24, np.float32),
    )
    model = onnx.load_from_string(content)
    model.opset_import[0].version = 23
    newer: bytes = model.SerializeToString()
    return newer


def boxes(samples: int, side: int = 1) -> bytes:
    """The image's mean in one box, as so many pixels, each of so many samples in a row and in a column."""
    return of_the_image(
        node("ReduceMean", "floats all_", "grey"),
        node("RoiAlign", "grey box first", output_height=side, output_width=side, sampling_ratio=samples),
        all_=[1, 2, 3],
        box=np.array([[0, 0, 1, 1]], np.float32),
        first=[0],
    )


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
    "attention of many heads": (lambda: attention("many", "many", q_num_heads=8, kv_num_heads=8), MEMORY),
    "attention of onnxruntime's own": (
        lambda: attention("weights_", "bias", num_heads=8, domain="com.microsoft"),
        MEMORY,
    ),
    "a RoiAlign of as many samples as its boxes say": (lambda: boxes(0), "a RoiAlign that does not take 1 to 16"),
    "a RoiAlign of many samples": (lambda: boxes(8192), "a RoiAlign that does not take 1 to 16"),
    "a RoiAlign that takes memory": (lambda: boxes(16, 1_000), MEMORY),
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
    "many samplings": (lambda: samplings(70), WORK),
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
