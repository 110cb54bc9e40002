"""The second output of an ONNX model: taken away, or made of what its last layer sees."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, helper

from convsmith.bundle.runtime import EMBEDDINGS

_LAYERS = ("Gemm", "MatMul")  # whose first input are features, and whose second one is constant
_SAME = ("Add", "Identity", "Reshape", "Flatten", "Cast", "QuantizeLinear", "DequantizeLinear")  # behind that layer


def without_embeddings(content: bytes) -> bytes:
    """The model with its first output alone."""
    model = onnx.load_from_string(content)
    if len(model.graph.output) == 1:
        return content
    del model.graph.output[1:]
    for node in model.graph.node:  # the tensor stays, by a name that another output may not meet
        for names in (node.input, node.output):
            names[:] = [f"{EMBEDDINGS}_inside" if name == EMBEDDINGS else name for name in names]
    return bytes(model.SerializeToString())


def with_embeddings(content: bytes) -> bytes | None:
    """The model with a second output, the features that its last layer sees; None where that is not a linear layer."""
    model = onnx.load_from_string(content)
    graph: Any = model.graph
    source = _input_of_last_layer(graph)
    if source is None:
        return None
    flat = f"{EMBEDDINGS}_flat"
    graph.node.append(helper.make_node("Flatten", [source], [flat], axis=1))
    graph.node.append(helper.make_node("Cast", [flat], [EMBEDDINGS], to=TensorProto.FLOAT))  # it may be in float16
    del graph.output[1:]
    graph.output.append(helper.make_tensor_value_info(EMBEDDINGS, TensorProto.FLOAT, ["batch", None]))
    return bytes(model.SerializeToString())


def _input_of_last_layer(graph: Any) -> str | None:
    makers = {output: node for node in graph.node for output in node.output}
    wanted = graph.output[0].name
    while (node := makers.get(wanted)) is not None:
        if node.op_type in _LAYERS:
            return str(node.input[0])
        if node.op_type not in _SAME:
            return None
        wanted = next((name for name in node.input if name in makers), "")
    return None
