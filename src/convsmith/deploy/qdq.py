"""An ONNX model in INT8: QuantizeLinear and DequantizeLinear where onnxruntime makes integer kernels of them.

Weights are int8, symmetric, a scale for each output channel; activations uint8, a scale and a zero point for each
tensor; biases int32. A tensor is rounded once, for all who read it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from convsmith.deploy.graph import CLAMPS, WEIGHTED, Graph

Range = tuple[float, float]
"""The lowest and the highest value of a tensor that need a value of their own."""

# What computes on integers as soon as all it reads are some: else turning to them and back costs more than it saves.
_COMPUTES = frozenset({"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "Sigmoid", "Softmax"})
# What only moves values about, or takes some of them: what goes out has the scale of what goes in.
_MOVES = frozenset({"MaxPool", "Reshape", "Transpose", "Slice", "Split", "Squeeze", "Unsqueeze", "Flatten"})
_ON_INTEGERS = frozenset({"Resize", "Pad"})  # likewise; but onnxruntime computes them on integers only if told to
_LEVELS = 255  # of a uint8, less one


@dataclass(frozen=True)
class Placement:
    """Which nodes compute on integers, and which tensors are rounded for that.

    Attributes:
        nodes: names of the nodes.
        rounded: the tensors, each with the one whose range it has: itself, or what it was moved from.
        for_all: whether nodes that compute in float read rounded tensors too, as in training; else they read what was
            there before, where there is such a thing.
    """

    nodes: frozenset[str]
    rounded: dict[str, str]
    for_all: bool = False


def place(graph: Graph, float_nodes: Collection[str] = (), tensors: Collection[str] | None = None) -> Placement:
    """Choose the nodes: all with weights but `float_nodes`, and what lies between them.

    Args:
        graph: the float model.
        float_nodes: names of nodes with weights that stay as they are.
        tensors: those that may be rounded; None: all.
    """
    nodes: set[str] = set()
    rounded: dict[str, str] = {}

    def may(name: str) -> bool:
        return tensors is None or rounded.get(name, name) in tensors

    weighted = {node.name for node in graph.weighted()} - set(float_nodes)
    for node in graph.model.graph.node:
        read = [name for name in node.input if name and name not in graph.constants]
        result = graph.result(node)
        if node.name in weighted:
            stays_float = _gives_floats(graph, node, result)
            if not may(read[0]) or not (stays_float or may(result)):
                continue
            rounded.setdefault(read[0], read[0])
        elif node.op_type in _COMPUTES:
            stays_float = False
            if len(read) < len(node.input) or not all(name in rounded for name in read) or not may(result):
                continue
        elif node.op_type in _MOVES | _ON_INTEGERS:
            if node.input[0] not in rounded or graph.outputs.intersection(node.output) or not _keeps_scale(graph, node):
                continue
            nodes.add(node.name)
            rounded.update(dict.fromkeys(node.output, rounded[node.input[0]]))
            continue
        else:
            continue
        nodes.add(node.name)
        if not stays_float:
            rounded.setdefault(result, result)
    return Placement(frozenset(nodes), rounded)


def _gives_floats(graph: Graph, node: NodeProto, result: str) -> bool:
    """Whether an integer kernel may give floats, and it is better so: of logits, and before an addition of a bias."""
    if node.op_type == "Conv":
        return False
    readers = graph.readers.get(result, [])
    return result in graph.outputs or any(set(reader.input) & set(graph.constants) for reader in readers)


def _keeps_scale(graph: Graph, node: NodeProto) -> bool:
    """Whether what a node gives is among the levels of what it reads, or may be rounded to them."""
    mode = b"".join(a.s for a in node.attribute if a.name == "mode")
    if node.op_type == "Resize":
        return mode in (b"", b"nearest", b"linear") and not any(a.i for a in node.attribute if a.name == "antialias")
    if node.op_type == "Pad":
        value = node.input[2] if len(node.input) > 2 else ""
        zeros = not value or (value in graph.constants and not graph.values(value).any())
        return mode in (b"", b"constant") and zeros
    return True


def insert_qdq(graph: Graph, placement: Placement, ranges: Mapping[str, Range], largest: int = 127) -> bytes:
    """The model with the placement's nodes in INT8, as an ONNX file.

    Args:
        graph: the float model; it stays as it is.
        placement: of this graph.
        ranges: of all tensors that `placement.rounded` names as having one.
        largest: integer of a weight, see `largest_weight`.
    """
    model = ModelProto()
    model.CopyFrom(graph.model)
    writer = _Writer(
        graph, placement, {name: ranges[name] for name in sorted(set(placement.rounded.values()))}, largest
    )
    nodes: list[NodeProto] = []
    for name in (value.name for value in model.graph.input):
        nodes += writer.rounding(name)
    for node in model.graph.node:
        given = list(node.output)
        nodes += writer.converted(node)
        for name in given:
            nodes += writer.rounding(name)
    read = {name for node in nodes for name in node.input} | graph.outputs
    nodes = [node for node in nodes if node.op_type != "DequantizeLinear" or node.output[0] in read]
    kept = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in [*model.graph.initializer, *writer.constants.values()] if tensor.name in kept]
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(constants)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


class _Writer:
    def __init__(self, graph: Graph, placement: Placement, ranges: Mapping[str, Range], largest: int) -> None:
        self.graph, self.placement, self.largest = graph, placement, largest
        self.constants: dict[str, TensorProto] = {}
        self.scales = {name: _scale_and_zero(*limits) for name, limits in ranges.items()}
        for name, (scale, zero) in self.scales.items():
            self._constant(f"{name}_scale", np.array(scale, np.float32))
            self._constant(f"{name}_zero", np.array(zero, np.uint8))

    def rounding(self, name: str) -> list[NodeProto]:
        """The two nodes behind a tensor that is rounded."""
        owner = self.placement.rounded.get(name)
        if owner is None:
            return []
        scale, zero = f"{owner}_scale", f"{owner}_zero"
        if self._is_of_integers(name):
            inputs = [f"{name}_q", scale, zero]
            return [helper.make_node("DequantizeLinear", inputs, [f"{name}_dq"], f"{name}_dequantize")]
        source, target = (f"{name}_float", name) if name in self.graph.outputs else (name, f"{name}_dq")
        before = []
        if self._is_kept_float(name):
            # onnxruntime makes integers of the weights of whatever lies between DequantizeLinear and QuantizeLinear;
            # this clamp, which it cannot take away, lies between too, and changes no level
            step, level = self.scales[owner]
            self._constant(f"{owner}_lowest", np.array((0.25 - level) * step, np.float32))
            before = [helper.make_node("Clip", [source, f"{owner}_lowest"], [f"{name}_clamped"], f"{name}_clamp")]
            source = f"{name}_clamped"
        return [
            *before,
            helper.make_node("QuantizeLinear", [source, scale, zero], [f"{name}_q"], f"{name}_quantize"),
            helper.make_node("DequantizeLinear", [f"{name}_q", scale, zero], [target], f"{name}_dequantize"),
        ]

    def converted(self, node: NodeProto) -> list[NodeProto]:
        """A node that reads what was rounded, and before it what makes its weights of integers."""
        is_integer = node.name in self.placement.nodes
        rounded, before = self.placement.rounded, []
        if is_integer and node.op_type in WEIGHTED:
            before = self._weights(node)
        if is_integer and node.op_type in _ON_INTEGERS:
            owner = rounded[node.output[0]]
            node.input[0], node.output[0] = f"{node.input[0]}_q", f"{node.output[0]}_q"
            if node.op_type == "Pad":
                node.input[2:3] = [f"{owner}_zero"]
        for position, name in enumerate(node.input):
            if (
                name in rounded
                and name not in self.graph.outputs
                and (is_integer or self.placement.for_all or self._is_integer(name))
            ):
                node.input[position] = f"{name}_q" if node.op_type == "Shape" else f"{name}_dq"
        for position, name in enumerate(node.output):
            if name in rounded and name in self.graph.outputs:
                node.output[position] = f"{name}_float"
        return [*before, node]

    def _is_integer(self, name: str) -> bool:
        """Whether an integer kernel makes a tensor, so that it is nowhere to be had before it was rounded."""
        maker = self._maker(name)
        return maker is not None and maker.name in self.placement.nodes

    def _is_kept_float(self, name: str) -> bool:
        """Whether a tensor is of a layer with weights that computes in float."""
        maker = self._maker(name)
        return maker is not None and maker.op_type in WEIGHTED and maker.name not in self.placement.nodes

    def _maker(self, name: str) -> NodeProto | None:
        """The node that gives a tensor, less a clamp behind it."""
        maker = self.graph.makers.get(name)
        if maker is not None and maker.op_type in CLAMPS:
            maker = self.graph.makers.get(maker.input[0])
        return maker

    def _is_of_integers(self, name: str) -> bool:
        maker = self.graph.makers.get(name)
        return maker is not None and maker.op_type in _ON_INTEGERS and maker.name in self.placement.nodes

    def _weights(self, node: NodeProto) -> list[NodeProto]:
        weights = self.graph.values(node.input[1])
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        axis = 0 if node.op_type == "Conv" or transposed else weights.ndim - 1
        scale_in, _ = self.scales[self.placement.rounded[node.input[0]]]
        bias = self.graph.values(node.input[2]) if len(node.input) > 2 else None
        least = None if bias is None else np.abs(bias) / np.float32(scale_in * 2**30)
        quantized, scales = quantize_weights(weights, axis, self.largest, least)
        own = f"{node.name}_weight"
        self._constant(f"{own}_q", quantized)
        self._constant(f"{own}_scale", scales)
        self._constant(f"{own}_zero", np.zeros(len(scales), np.int8))
        nodes = [_dequantize(own, axis)]
        node.input[1] = f"{own}_dq"
        if bias is not None:
            own = f"{node.name}_bias"
            step = (scales * np.float32(scale_in)).astype(np.float32)
            self._constant(f"{own}_q", np.rint(bias / step).astype(np.int32))
            self._constant(f"{own}_scale", step)
            self._constant(f"{own}_zero", np.zeros(len(step), np.int32))
            nodes.append(_dequantize(own, 0))
            node.input[2] = f"{own}_dq"
        return nodes

    def _constant(self, name: str, values: NDArray[np.generic]) -> None:
        self.constants[name] = numpy_helper.from_array(values, name)


def quantize_weights(
    weights: NDArray[np.float32], axis: int, largest: int, least: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights in -`largest` to `largest` and the scale of each output channel, the channels being along `axis`.

    Args:
        weights: of any shape.
        axis: see above.
        largest: at most 127.
        least: what each scale must be at least, such that the bias, in units of it and the input's scale, is an int32.
    """
    others = tuple(i for i in range(weights.ndim) if i != axis)
    scales = np.abs(weights).max(axis=others) / np.float32(largest)
    if least is not None:
        scales = np.maximum(scales, least)
    scales = np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
    return np.clip(np.rint(weights / scales.reshape(shape)), -largest, largest).astype(np.int8), scales


def _scale_and_zero(low: float, high: float) -> tuple[float, int]:
    """Such that 0 has a value of its own."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / _LEVELS)) or 1.0
    return scale, int(np.clip(np.rint(-low / scale), 0, _LEVELS))


def _dequantize(own: str, axis: int) -> NodeProto:
    inputs = [f"{own}_{part}" for part in ("q", "scale", "zero")]
    return helper.make_node("DequantizeLinear", inputs, [f"{own}_dq"], f"{own}_dequantize", axis=axis)
