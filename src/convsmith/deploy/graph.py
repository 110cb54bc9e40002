"""An ONNX model as a graph: who makes and who reads a tensor, its layers by their names, and what it rounds."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

_ROUNDS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})
WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})
CLAMPS = frozenset({"Relu", "Clip"})
POOLED = "_pooled"
"""Ends the name of a mean over the image that still has height and width, each 1."""


def is_int8(model: ModelProto) -> bool:
    """Whether a model rounds tensors to integers, static or dynamic."""
    return any(node.op_type in _ROUNDS for node in model.graph.node)


def roundings(model: ModelProto) -> int:
    """How many tensors a model rounds to levels while it runs."""
    return sum(node.op_type in ("DynamicQuantizeLinear", "QuantizeLinear") for node in model.graph.node)


class Graph:
    """An ONNX model that can be asked who makes and who reads a tensor.

    Args:
        model: a float model, topologically sorted, whose nodes have names; see `load`.
    """

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    @classmethod
    def load(cls, content: bytes) -> Graph:
        """The graph of a file, its layers named as in the model where that is known.

        Means over the image become poolings, which have integer kernels.
        """
        model = onnx.load_from_string(content)
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.dims}
        nodes: list[NodeProto] = []
        taken = {""}
        for number, node in enumerate(model.graph.node):
            layer = _layer(node)
            node.name = layer if layer not in taken else f"{layer or node.op_type}_{number}"
            taken.add(node.name)
            del node.metadata_props[:]  # stack traces of the exporter, a fifth of a small file
            nodes += _as_pooling(node, constants) if node.op_type == "ReduceMean" else [node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        return cls(model)

    def weighted(self) -> list[NodeProto]:
        """The nodes that multiply by weights, in the order in which they compute."""
        return [node for node in self.model.graph.node if node.op_type in WEIGHTED and node.input[1] in self.constants]

    def result(self, node: NodeProto) -> str:
        """The first tensor that a node gives, clamped if all that is read of it is clamped."""
        readers = self.readers.get(node.output[0], [])
        if len(readers) == 1 and readers[0].op_type in CLAMPS and node.output[0] not in self.outputs:
            return str(readers[0].output[0])
        return str(node.output[0])

    def values(self, name: str) -> NDArray[np.float32]:
        """A constant as an array."""
        array: NDArray[np.float32] = numpy_helper.to_array(self.constants[name])
        return array


def _layer(node: NodeProto) -> str:
    """The model's name of a layer with weights, so far as the exporter left it written; of others the node's name."""
    if node.op_type not in WEIGHTED:
        return str(node.name)
    path = str(node.input[1])
    if not path.endswith(".weight") or path.startswith("folded."):
        scopes = next((entry.value for entry in node.metadata_props if entry.key.endswith("name_scopes")), "")
        path = _scope(scopes) or str(node.name)
    return path.removesuffix(".weight").removeprefix("model.")


def _scope(scopes: str) -> str:
    """The last but one of the exporter's scopes; nothing where the text, which is anyone's, is not a list of names."""
    try:
        names = ast.literal_eval(scopes)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return ""
    return str(names[-2]) if isinstance(names, list) and len(names) > 1 else ""


def _as_pooling(node: NodeProto, constants: Mapping[str, NDArray[np.generic]]) -> list[NodeProto]:
    """A mean over height and width by other words, or the node as it is."""
    axes = constants.get(node.input[1]) if len(node.input) > 1 else None
    if axes is None or sorted(axes.tolist()) not in ([2, 3], [-2, -1]):
        return [node]
    keeps = all(a.i for a in node.attribute if a.name == "keepdims")
    pooled = node.output[0] if keeps else f"{node.output[0]}{POOLED}"
    pooling = helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], node.name)
    flat = helper.make_node("Flatten", [pooled], [node.output[0]], f"{node.name}_flatten", axis=1)
    return [pooling] if keeps else [pooling, flat]
