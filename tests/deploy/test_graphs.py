"""What becomes of small ONNX graphs, node by node: folded constants, INT8, dynamic INT8."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from convsmith.deploy.dynamic_int8 import quantize_dynamic
from convsmith.deploy.fold import fold_constants
from convsmith.deploy.graph import Graph, is_int8, roundings
from convsmith.deploy.qdq import Placement, insert_qdq, place, quantize_weights
from convsmith.errors import ConvsmithError

DRAW = np.random.default_rng(0)


def floats(*shape: int) -> NDArray[np.float32]:
    """Numbers of which none is near 0."""
    return (DRAW.choice([-1, 1], shape) * DRAW.uniform(0.5, 2, shape)).astype(np.float32)


def model_of(nodes: str, x: str, constants: dict[str, Any]) -> ModelProto:
    """A model from x, such as `float[n,3]`, to y of nodes in ONNX's own words, and of constants."""
    graph = onnx.parser.parse_graph(f"g ({x} x) => (float y) {{ {nodes} }}")
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in constants.items())
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type.lower()}{number}"
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: ModelProto, x: NDArray[Any]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answer: NDArray[np.float32] = session.run(None, {"x": x})[0]
    return answer


def used_in(nodes: str, constants: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: it for name, it in constants.items() if f"{name})" in nodes or f"{name}," in nodes}


def left_after_folding(model: ModelProto, x: NDArray[np.float32]) -> list[str]:
    """The operators that are left, in order; what the model says must stay."""
    folded = onnx_ir.from_proto(model)
    fold_constants(folded)
    proto = onnx_ir.to_proto(folded)
    np.testing.assert_allclose(run(proto, x), run(model, x), rtol=1e-4, atol=1e-4)
    used = {name for node in proto.graph.node for name in node.input}
    assert {it.name for it in proto.graph.initializer} <= used
    return [node.op_type for node in proto.graph.node]


SCALE, SHIFT = floats(1, 4, 1, 1), floats(1, 4, 1, 1)
INSIDE = "kernel_shape=[3,3], group=1, pads=[0,0,0,0]"
PADDED = "kernel_shape=[3,3], group=1, pads=[0,1,0,0]"
TAKEN_TWICE = ["Mul", "Add", "Conv", "ReduceMean", "Add"]
GROUPED = "kernel_shape=[3,3], group=2, pads=[0,0,0,0]"


@pytest.mark.parametrize(
    ("nodes", "changes", "left"),
    [
        (f"m = Mul(x, s) a = Add(m, t) y = Conv<{INSIDE}>(a, w, b)", {}, ["Conv"]),
        (f"m = Mul(s, x) a = Add(t, m) y = Conv<{INSIDE}>(a, w, b)", {}, ["Conv"]),
        (f"m = Mul(x, s) a = Add(m, t) y = Conv<{INSIDE}>(a, w)", {}, ["Conv"]),
        (f"m = Mul(x, s) a = Add(m, t) y = Conv<{PADDED}>(a, w, b)", {}, ["Add", "Conv"]),
        (f"m = Mul(x, s) a = Add(m, t) y = Conv<{PADDED}>(a, w)", {}, ["Add", "Conv"]),
        (f"m = Mul(x, s) a = Add(m, t) y = Conv<{GROUPED}>(a, w)", {"w": floats(6, 2, 3, 3)}, ["Mul", "Add", "Conv"]),
        (f"m = Mul(x, s) a = Add(m, t) y = Conv<{INSIDE}>(a, w)", {"s": floats(1, 4, 1, 6)}, ["Mul", "Add", "Conv"]),
        (f"m = Mul(x, s) a = Add(m, t) y = Conv<{INSIDE}>(a, w)", {"s": floats(1, 4, 5, 1)}, ["Mul", "Add", "Conv"]),
        (f"m = Mul(x, s) a = Add(m, t) y = Conv<{INSIDE}>(a, w)", {"s": floats(1, 1, 1, 1)}, ["Mul", "Add", "Conv"]),
        (f"m = Mul(x, s) a = Add(m, t) y = Conv<{INSIDE}>(a, w)", {"t": floats(1, 1, 1, 1)}, ["Mul", "Add", "Conv"]),
        (f"m = Mul(x, s) a = Add(m, t) y = Conv<{INSIDE}>(a, w)", {"s": 0 * SCALE}, ["Mul", "Add", "Conv"]),
        (f"m = Mul(x, s) a = Add(m, x) y = Conv<{INSIDE}>(a, w)", {}, ["Mul", "Add", "Conv"]),
        (f"m = Mul(x, x) a = Add(m, t) y = Conv<{INSIDE}>(a, w)", {}, ["Mul", "Add", "Conv"]),
        (f"m = Mul(x, s) y = Conv<{INSIDE}>(m, w)", {}, ["Mul", "Conv"]),
        (f"m = Mul(x, s) a = Add(m, t) c = Conv<{INSIDE}>(a, w) d = ReduceMean(a) y = Add(c, d)", {}, TAKEN_TWICE),
        (f"m = Mul(x, s) a = Add(m, t) v = Relu(w) y = Conv<{INSIDE}>(a, v)", {}, ["Mul", "Add", "Relu", "Conv"]),
        (f"m = Mul(x, s) a = Add(m, t) v = Relu(b) y = Conv<{INSIDE}>(a, w, v)", {}, ["Mul", "Add", "Relu", "Conv"]),
        ("m = Mul(x, s) a = Add(m, t) y = Relu(a)", {}, ["Mul", "Add", "Relu"]),
    ],
)  # fmt: skip
def test_a_normalisation_before_a_convolution_of_all_channels_is_folded_into_it(
    nodes: str, changes: dict[str, NDArray[Any]], left: list[str]
) -> None:
    constants = {"s": SCALE, "t": SHIFT, "w": floats(6, 4, 3, 3), "b": floats(6), **changes}
    model = model_of(nodes, "float[n,4,5,6]", used_in(nodes, constants))
    assert left_after_folding(model, floats(2, 4, 5, 6)) == left


LINEAR, KEPT = "p = MatMul(x, w) a = Add(p, b) m = Mul(a, s) y = Relu(m)", ["MatMul", "Add", "Mul", "Relu"]


@pytest.mark.parametrize(
    ("nodes", "changes", "left"),
    [
        (LINEAR, {}, ["MatMul", "Add", "Relu"]),
        ("p = MatMul(x, w) a = Add(b, p) m = Mul(s, a) y = Relu(m)", {}, ["MatMul", "Add", "Relu"]),
        ("p = MatMul(x, w) a = Add(p, b) y = Mul(a, s)", {}, ["MatMul", "Add", "Mul"]),
        ("p = MatMul(x, w) a = Add(p, b) m = Mul(a, s) y = Add(m, a)", {}, ["MatMul", "Add", "Mul", "Add"]),
        ("p = MatMul(x, w) a = Add(p, b) m = Mul(a, s) y = Add(m, p)", {}, ["MatMul", "Add", "Mul", "Add"]),
        ("p = MatMul(x, w) m = Mul(p, s) y = Relu(m)", {}, ["MatMul", "Mul", "Relu"]),
        ("p = Relu(x) a = Add(p, t) m = Mul(a, t) y = Relu(m)", {"t": floats(4)}, ["Relu", "Add", "Mul", "Relu"]),
        (LINEAR, {"s": floats(1)}, KEPT),
        (LINEAR, {"s": floats(1, 7), "b": floats(1, 7)}, KEPT),
        (LINEAR, {"w": floats(2, 4, 7)}, KEPT),
        ("v = Relu(w) p = MatMul(x, v) a = Add(p, b) m = Mul(a, s) y = Relu(m)", {}, ["Relu", *KEPT]),
    ],
)  # fmt: skip
def test_a_factor_of_each_column_of_a_linear_layer_is_folded_into_it(
    nodes: str, changes: dict[str, NDArray[Any]], left: list[str]
) -> None:
    constants = {"s": floats(7), "w": floats(4, 7), "b": floats(7), **changes}
    model = model_of(nodes, "float[2,3,4]", used_in(nodes, constants))
    assert left_after_folding(model, floats(2, 3, 4)) == left


def nodes_of(content: bytes) -> list[str]:
    """The nodes of a model, a line each."""
    graph = onnx.load_from_string(content).graph
    return [f"{' '.join(node.output)} = {node.op_type}({', '.join(node.input)})" for node in graph.node]


NET = (
    "f = Cast<to=1>(x) c = Conv<pads=[1,1,1,1], kernel_shape=[3,3]>(f, w, b) r = Relu(c) "
    'p = MaxPool<kernel_shape=[2,2]>(r) z = Resize<mode: string = "nearest">(p, , , sizes) s = Add(z, r) '
    "k = Sigmoid(s) e = Exp(k) q = Reshape(e, flat) y = MatMul(q, u)"
)


RESIZE = 'Resize<mode: string = "nearest">(p, , , sizes)'


def net(between: str = RESIZE) -> Graph:
    """That model, with this in place of its Resize."""
    constants = {
        "w": floats(4, 3, 3, 3), "b": floats(4), "sizes": np.array([1, 4, 4, 4]), "flat": np.array([1, 64]),
        "u": floats(64, 2), "pads": np.array([0, 0, 0, 0, 0, 0, 1, 1]),
        "zero": np.zeros((), np.float32), "one": np.ones((), np.float32),
    }  # fmt: skip
    nodes = NET.replace(RESIZE, between)
    return Graph.load(model_of(nodes, "uint8[1,3,4,4]", used_in(nodes, constants)).SerializeToString())


def test_integers_begin_and_end_where_something_computes_on_them() -> None:
    graph = net()
    placement = place(graph)
    assert placement.nodes == {"conv1", "maxpool3", "resize4", "add5", "sigmoid6", "matmul9"}
    assert placement.rounded == {"f": "f", "r": "r", "p": "r", "z": "r", "s": "s", "k": "k", "q": "q"}
    assert not placement.for_all
    without = place(graph, ["conv1"])
    assert without.nodes == {"matmul9"}
    assert without.rounded == {"q": "q"}
    some = place(graph, tensors=["f", "r"])
    assert some.nodes == {"conv1", "maxpool3", "resize4"}
    assert some.rounded == {"f": "f", "r": "r", "p": "r", "z": "r"}


@pytest.mark.parametrize(
    ("between", "keeps"),
    [
        (RESIZE, True),
        ("Resize(p, , , sizes)", True),
        ('Resize<mode: string = "linear">(p, , , sizes)', True),
        ('Resize<mode: string = "cubic">(p, , , sizes)', False),
        ('Resize<mode: string = "linear", antialias: int = 1>(p, , , sizes)', False),
        ("Pad(p, pads)", True),
        ("Pad(p, pads, zero)", True),
        ("Pad(p, pads, one)", False),
        ('Pad<mode: string = "reflect">(p, pads)', False),
    ],
)
def test_what_gives_levels_that_it_does_not_read_stays_float(between: str, keeps: bool) -> None:
    placement = place(net(between))
    assert placement.rounded.get("z") == ("r" if keeps else None)
    assert any(name.startswith(("resize", "pad")) for name in placement.nodes) == keeps


INTEGERS = """
f = Cast(x)
f_q = QuantizeLinear(f, f_scale, f_zero)
f_dq = DequantizeLinear(f_q, f_scale, f_zero)
conv1_weight_dq = DequantizeLinear(conv1_weight_q, conv1_weight_scale, conv1_weight_zero)
conv1_bias_dq = DequantizeLinear(conv1_bias_q, conv1_bias_scale, conv1_bias_zero)
c = Conv(f_dq, conv1_weight_dq, conv1_bias_dq)
r = Relu(c)
r_q = QuantizeLinear(r, r_scale, r_zero)
r_dq = DequantizeLinear(r_q, r_scale, r_zero)
p = MaxPool(r_dq)
p_q = QuantizeLinear(p, r_scale, r_zero)
z_q = Resize(p_q, , , sizes)
z_dq = DequantizeLinear(z_q, r_scale, r_zero)
s = Add(z_dq, r_dq)
s_q = QuantizeLinear(s, s_scale, s_zero)
s_dq = DequantizeLinear(s_q, s_scale, s_zero)
k = Sigmoid(s_dq)
k_q = QuantizeLinear(k, k_scale, k_zero)
k_dq = DequantizeLinear(k_q, k_scale, k_zero)
e = Exp(k_dq)
q = Reshape(e, flat)
q_q = QuantizeLinear(q, q_scale, q_zero)
q_dq = DequantizeLinear(q_q, q_scale, q_zero)
matmul9_weight_dq = DequantizeLinear(matmul9_weight_q, matmul9_weight_scale, matmul9_weight_zero)
y = MatMul(q_dq, matmul9_weight_dq)
"""

ROUNDED_FOR_ALL = """
f = Cast(x)
f_q = QuantizeLinear(f, f_scale, f_zero)
f_dq = DequantizeLinear(f_q, f_scale, f_zero)
c = Conv(f_dq, w, b)
r = Relu(c)
r_clamped = Clip(r, r_lowest)
r_q = QuantizeLinear(r_clamped, r_scale, r_zero)
r_dq = DequantizeLinear(r_q, r_scale, r_zero)
p = MaxPool(r_dq)
z = Resize(p, , , sizes)
s = Add(z, r_dq)
s_q = QuantizeLinear(s, s_scale, s_zero)
s_dq = DequantizeLinear(s_q, s_scale, s_zero)
k = Sigmoid(s_dq)
e = Exp(k)
q = Reshape(e, flat)
q_q = QuantizeLinear(q, q_scale, q_zero)
q_dq = DequantizeLinear(q_q, q_scale, q_zero)
matmul9_weight_dq = DequantizeLinear(matmul9_weight_q, matmul9_weight_scale, matmul9_weight_zero)
y_float = MatMul(q_dq, matmul9_weight_dq)
y_q = QuantizeLinear(y_float, y_scale, y_zero)
y = DequantizeLinear(y_q, y_scale, y_zero)
"""

RANGES = dict.fromkeys("frskqy", (-1.0, 2.0))


def constants_of(content: bytes) -> dict[str, NDArray[Any]]:
    return {it.name: numpy_helper.to_array(it) for it in onnx.load_from_string(content).graph.initializer}


def test_each_tensor_is_rounded_once_for_all_who_read_it() -> None:
    graph = net()
    content = insert_qdq(graph, place(graph), RANGES, largest=63)
    assert nodes_of(content) == INTEGERS.strip().split("\n")
    assert is_int8(onnx.load_from_string(content))
    assert roundings(onnx.load_from_string(content)) == 6
    assert nodes_of(graph.model.SerializeToString())[1] == "c = Conv(f, w, b)"  # it stays as it is


def test_what_a_training_rounded_is_rounded_whoever_reads_it() -> None:
    graph = net()
    placement = place(graph, ["conv1"])
    rounded = {**{name: name for name in "frsy"}, **placement.rounded}
    content = insert_qdq(graph, Placement(placement.nodes, rounded, for_all=True), RANGES)
    assert nodes_of(content) == ROUNDED_FOR_ALL.strip().split("\n")
    assert constants_of(content)["r_lowest"] == pytest.approx((0.25 - 85) * 3 / 255)  # below 0, above the last level


def test_integers_times_their_scales_are_the_weights() -> None:
    graph = net()
    found = constants_of(insert_qdq(graph, place(graph), RANGES, largest=63))
    assert float(found["f_scale"]) == pytest.approx(3 / 255)
    assert int(found["f_zero"]) == 85
    for name, axis in (("conv1", 0), ("matmul9", 1)):
        own, scales = graph.values({"conv1": "w", "matmul9": "u"}[name]), found[f"{name}_weight_scale"]
        others = tuple(i for i in range(own.ndim) if i != axis)
        np.testing.assert_allclose(scales, np.abs(own).max(axis=others) / 63, rtol=1e-6)
        shape = [-1 if i == axis else 1 for i in range(own.ndim)]
        rounded = np.rint(own / scales.reshape(shape))
        np.testing.assert_array_equal(found[f"{name}_weight_q"], rounded)
        assert found[f"{name}_weight_zero"].tolist() == [0] * len(scales)
    step = found["conv1_weight_scale"] * found["f_scale"]
    np.testing.assert_allclose(found["conv1_bias_scale"], step, rtol=1e-6)
    np.testing.assert_array_equal(found["conv1_bias_q"], np.rint(graph.values("b") / step))


def test_weights_of_a_channel_share_a_scale_which_zeros_and_large_biases_have_too() -> None:
    weights = np.array([[0.5, -1.0], [0, 0], [2.0, 4.0]], np.float32)
    quantized, scales = quantize_weights(weights, 0, 100)
    assert scales.tolist() == pytest.approx([0.01, 1.0, 0.04])
    assert quantized.tolist() == [[50, -100], [0, 0], [50, 100]]
    assert quantize_weights(weights.T, 1, 100)[0].tolist() == quantized.T.tolist()
    quantized, scales = quantize_weights(weights, 0, 100, np.array([0.1, 0.5, 0.0]))
    assert scales.tolist() == pytest.approx([0.1, 0.5, 0.04])
    assert quantized.tolist() == [[5, -10], [0, 0], [50, 100]]


def test_linear_layers_round_what_comes_in_each_time_and_convolutions_stay() -> None:
    nodes = (
        "f = Cast<to=1>(x) c = Conv<kernel_shape=[1,1]>(f, w) p = GlobalAveragePool(c) q = Flatten(p) "
        "g = Gemm<transB=1>(q, u, b) y = MatMul(g, v)"
    )
    constants = {"w": floats(4, 3, 1, 1) / 100, "u": floats(6, 4), "b": floats(6), "v": floats(6, 2)}
    model = model_of(nodes, "uint8[n,3,4,4]", constants)
    content, line = quantize_dynamic(model.SerializeToString(), "vnni")
    assert line == (
        "dynamic INT8 covers 2 of 3 layers with weights, 75.0% of the weights; the 1 convolutions stay in float, and "
        "cost what they did; inputs are rounded by the range of their whole batch, so the logits of an image vary a "
        "little with the others"
    )
    integer = onnx.load_from_string(content)
    assert Counter(node.op_type for node in integer.graph.node) == {
        "Cast": 3, "Conv": 1, "GlobalAveragePool": 1, "Flatten": 1, "DynamicQuantizeLinear": 2, "MatMulInteger": 2,
        "Mul": 4, "Add": 1,
    }  # fmt: skip
    assert {it.name for it in integer.graph.initializer} == {
        "w", "b", *(f"{own}_weight_{part}" for own in ("gemm4", "matmul5") for part in ("q", "zero", "scale")),
    }  # fmt: skip
    assert np.abs(constants_of(content)["gemm4_weight_q"]).max() == 127
    images = DRAW.integers(0, 256, (2, 3, 4, 4), np.uint8)
    exact = run(model, images)
    for_any = quantize_dynamic(model.SerializeToString())[0]  # whose sums no processor cuts off
    np.testing.assert_allclose(run(onnx.load_from_string(for_any), images), exact, atol=0.02 * np.abs(exact).max())
    assert np.abs(constants_of(for_any)["gemm4_weight_q"]).max() == 63


def test_convolutions_alone_are_refused() -> None:
    model = model_of("y = Conv<kernel_shape=[1,1]>(x, w)", "float[n,3,4,4]", {"w": floats(4, 3, 1, 1)})
    with pytest.raises(ConvsmithError, match=r"it covers linear layers only, and all 1 layers with weights are convol"):
        quantize_dynamic(model.SerializeToString())
