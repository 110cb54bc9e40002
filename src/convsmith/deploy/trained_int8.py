"""From a model that was trained for INT8 to its INT8 ONNX file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from torch import nn

from convsmith.deploy.graph import POOLED, Graph
from convsmith.deploy.onnx_export import export_onnx
from convsmith.deploy.qdq import Placement, Range, insert_qdq, place
from convsmith.deploy.static_int8 import check_kernels
from convsmith.models.fake_quant import MARK, rounding_of
from convsmith.recipe.schema import Recipe


@dataclass(frozen=True)
class TrainedInt8:
    """The exported forms of a model that was trained for INT8.

    Attributes:
        content: the INT8 ONNX file.
        float_content: the ONNX file that it was made of: the model without rounding.
        float_layers: the layers that stay in float.
    """

    content: bytes
    float_content: bytes
    float_layers: list[str]


def export_int8(model: nn.Module, recipe: Recipe) -> TrainedInt8:
    """The INT8 ONNX file of an `inference_model` that was trained for it.

    Raises:
        ConvsmithError: onnxruntime has no integer kernel for a layer.
    """
    rounding = rounding_of(model)
    assert rounding is not None
    with rounding.in_form("marked"):
        marked = export_onnx(model, recipe.input_size, any_size=recipe.preprocess.only_size() is None)
    graph, ranges = _without_marks(marked, rounding.low.tolist(), rounding.high.tolist())
    placement = place(graph, tensors=ranges)
    # what is rounded in training is rounded, whoever reads it
    rounded = {**{name: name for name in ranges}, **placement.rounded}
    content = insert_qdq(graph, Placement(placement.nodes, rounded, for_all=True), ranges, rounding.largest)
    layers = graph.weighted()
    integers = [node for node in layers if node.name in placement.nodes]
    check_kernels(content, Counter(node.op_type for node in integers))
    float_layers = [node.name for node in layers if node.name not in placement.nodes]
    return TrainedInt8(content, graph.model.SerializeToString(), float_layers)


def _without_marks(content: bytes, low: Sequence[float], high: Sequence[float]) -> tuple[Graph, dict[str, Range]]:
    """The float graph, and the range of each tensor that had a mark behind it."""
    model = onnx.load_from_string(content)
    domain, operator = MARK.split("::")
    ranges: dict[str, Range] = {}
    unmarked: dict[str, str] = {}
    nodes, outputs = [], {value.name for value in model.graph.output}
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = unmarked.get(name, name)
        if (node.domain, node.op_type) != (domain, operator):
            nodes.append(node)
            continue
        site = next(a.i for a in node.attribute if a.name == "site")
        ranges[node.input[0]] = low[site], high[site]
        unmarked[node.output[0]] = node.input[0]
        if node.output[0] in outputs:
            nodes.append(onnx.helper.make_node("Identity", [node.input[0]], [node.output[0]], f"{node.name}_given"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    graph = Graph.load(model.SerializeToString())
    for name in [name for name in ranges if f"{name}{POOLED}" in graph.makers]:
        ranges[f"{name}{POOLED}"] = ranges.pop(name)
    return graph, ranges
