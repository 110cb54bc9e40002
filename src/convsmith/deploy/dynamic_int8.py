"""Dynamic INT8: weights of linear layers are integers, and activations become some while the model runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from convsmith.deploy.graph import Graph
from convsmith.deploy.qdq import quantize_weights
from convsmith.errors import ConvsmithError
from convsmith.processor import Target, largest_weight


def quantize_dynamic(content: bytes, target: Target = "any-x86") -> tuple[bytes, str]:
    """A float ONNX model with its linear layers in dynamic INT8, and a line that says how much of the model that is.

    What a layer is given is rounded by one scale for the whole batch, so an image's logits depend on the others.
    Convolutions stay in float: onnxruntime has no fast kernel for them without a scale that is known before.

    Raises:
        ConvsmithError: there is no linear layer.
    """
    graph = Graph.load(content)
    model, layers = graph.model, graph.weighted()
    linear = [node.name for node in layers if node.op_type != "Conv"]
    sizes = {node.name: graph.values(node.input[1]).size for node in layers}
    if not linear:
        raise ConvsmithError(
            "dynamic INT8 does nothing for this model",
            f"it covers linear layers only, and all {len(layers)} layers with weights are convolutions",
            "Use --method static.",
        )
    nodes: list[NodeProto] = []
    for node in list(model.graph.node):
        nodes += _integers(graph, node, largest_weight(target)) if node.name in linear else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
    share = sum(sizes[name] for name in linear) / sum(sizes.values())
    line = (
        f"dynamic INT8 covers {len(linear)} of {len(layers)} layers with weights, {share:.1%} of the weights; "
        f"the {len(layers) - len(linear)} convolutions stay in float, and cost what they did; "
        "inputs are rounded by the range of their whole batch, so the logits of an image vary a little with the others"
    )
    return model.SerializeToString(deterministic=True), line


def _integers(graph: Graph, node: NodeProto, largest: int) -> list[NodeProto]:
    """A product with weights, of integers: what comes in is given a scale of its own each time."""
    own, (source, weights_name) = node.name, node.input[:2]
    weights = graph.values(weights_name)
    if any(a.name == "transB" and a.i for a in node.attribute):
        weights = weights.T
    quantized, scales = quantize_weights(np.ascontiguousarray(weights), weights.ndim - 1, largest)
    constants: dict[str, NDArray[Any]] = {
        "weight_q": quantized,
        "weight_zero": np.zeros(len(scales), np.int8),
        "weight_scale": scales,
    }
    for part, values in constants.items():
        graph.model.graph.initializer.append(numpy_helper.from_array(values, f"{own}_{part}"))
    has_bias = len(node.input) > 2
    product = f"{own}_product" if has_bias else node.output[0]
    given = [f"{own}_in_q", f"{own}_in_scale", f"{own}_in_zero"]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", [source], given, f"{own}_round"),
        helper.make_node(
            "MatMulInteger", [given[0], f"{own}_weight_q", given[2], f"{own}_weight_zero"], [f"{own}_sum"], own
        ),
        helper.make_node("Cast", [f"{own}_sum"], [f"{own}_sum_float"], f"{own}_cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", [given[1], f"{own}_weight_scale"], [f"{own}_scale"], f"{own}_scales"),
        helper.make_node("Mul", [f"{own}_sum_float", f"{own}_scale"], [product], f"{own}_scaled"),
    ]
    if has_bias:
        nodes.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]], f"{own}_bias"))
    return nodes
