"""Constant factors of an ONNX graph, multiplied into the weights beside them; and sizes that need not be computed.

The exporter folds BatchNorm. What it leaves are the normalisation before the first convolution, ConvNeXt's layer
scale after the last linear layer of each block, and the number of images in the sizes of each upsampling.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[Any]


def fold_constants(model: ir.Model) -> None:
    """Change a model in place, to one that says the same up to float32 rounding with fewer operations.

    - `conv(scale * x + shift)` becomes `conv'(x + shift / scale)`, also where the convolution pads: the zeros around
      `scale * x + shift` are the zeros around `x + shift / scale`. Where it does not pad, the shift becomes a bias;
      where it does, that would be wrong at the border, which sees fewer shifts than the middle.
    - `scale * (x @ W + b)`, one scale for each column, becomes `x @ (W * scale) + b * scale`.
    - An upsampling of `x` to the size (N, C) of `x`, then (H, W), becomes one by constant scales
      where `x` has one size.
    """
    for node in list(model.graph):
        if node.op_type == "Resize":
            _fold_constant_sizes(model.graph, node)
        if node.op_type == "Mul" and not _fold_normalization(model.graph, node):
            _fold_layer_scale(model.graph, node)
    for name, value in list(model.graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[name]


def _fold_normalization(graph: ir.Graph, mul: ir.Node) -> bool:
    """Images times `scale` plus `shift`, into a convolution of all channels; whether it was that."""
    add = _only_user(mul, "Add")
    conv = _only_user(add, "Conv")
    images, scale = _operands(mul)
    if add is None or conv is None or images is None or scale is None:
        return False
    shift, weight = _operands(add)[1], _constant(conv.inputs[1])
    if shift is None or weight is None or conv.attributes["group"].as_int() != 1:
        return False
    channels = (1, weight.shape[1], 1, 1)
    if scale.shape != channels or shift.shape != channels or not scale.all():
        return False
    if any(conv.attributes["pads"].as_ints()):
        add.replace_input_with(0, images)
        add.replace_input_with(1, _initializer(graph, f"{add.name}.shift", shift / scale))
    else:
        old = _constant(conv.inputs[2]) if len(conv.inputs) > 2 else np.zeros(len(weight))
        if old is None:
            return False
        bias = old + (weight * shift).sum((1, 2, 3))
        conv.resize_inputs(3)
        conv.replace_input_with(0, images)
        conv.replace_input_with(2, _initializer(graph, f"{conv.name}.bias", bias))
        graph.remove(add, safe=True)
    conv.replace_input_with(1, _initializer(graph, f"{conv.name}.weight", weight * scale))
    graph.remove(mul, safe=True)
    return True


def _fold_layer_scale(graph: ir.Graph, mul: ir.Node) -> None:
    """`scale` times a linear layer's outputs, into the layer."""
    linear, scale = _operands(mul)
    add = _producer(linear, "Add")
    product, bias = _operands(add) if add else (None, None)
    matmul = _producer(product, "MatMul")
    weight = _constant(matmul.inputs[1]) if matmul else None
    if add is None or matmul is None or scale is None or bias is None or weight is None:
        return
    if not weight.ndim - 1 == scale.ndim == bias.ndim == 1 or scale.shape != bias.shape:
        return
    if mul.outputs[0].is_graph_output():  # it would lose its name
        return
    matmul.replace_input_with(1, _initializer(graph, f"{matmul.name}.weight", weight * scale))
    add.replace_input_with(0, matmul.outputs[0])
    add.replace_input_with(1, _initializer(graph, f"{add.name}.bias", bias * scale))
    mul.outputs[0].replace_all_uses_with(add.outputs[0])
    graph.remove(mul, safe=True)


def _fold_constant_sizes(graph: ir.Graph, resize: ir.Node) -> None:
    """The sizes of a Resize of which only the number of images varies, and channels, which it keeps: as its scales.

    Axes would say it too, but onnxruntime (1.32) then mixes up the sizes where it moves a transposition past a Resize.
    """
    images, sizes = resize.inputs[0], resize.inputs[3] if len(resize.inputs) > 3 else None
    concat = sizes.producer() if sizes is not None else None
    shape = concat.inputs[0].producer() if concat is not None and concat.inputs[0] is not None else None
    if concat is None or shape is None or (concat.op_type, shape.op_type) != ("Concat", "Shape"):
        return
    start, end = (shape.attributes.get_int(name, 0) for name in ("start", "end"))
    if len(concat.inputs) != 2 or shape.inputs[0] is not images or (start, end) != (0, 2):
        return
    wanted = _constant(concat.inputs[1])
    dimensions = images.shape[2:] if images is not None and images.shape is not None else ()
    sides = np.array([side for side in dimensions if isinstance(side, int)], np.float64)
    if wanted is None or len(sides) != 2:
        return
    scales = (wanted / sides).astype(np.float32)
    if (np.floor(sides * scales) != wanted).any():
        return
    resize.replace_input_with(2, _initializer(graph, f"{resize.name}.scales", np.array([1, 1, *scales])))
    resize.resize_inputs(3)
    for node in (concat, shape):
        if not node.outputs[0].uses():
            graph.remove(node, safe=True)


def _operands(node: ir.Node) -> tuple[ir.Value | None, Array | None]:
    """The input that varies, and the constant, of an operation on two values in any order."""
    first, second = node.inputs
    constant = _constant(second)
    return (first, constant) if constant is not None else (second, _constant(first))


def _constant(value: ir.Value | None) -> Array | None:
    """Values of an initializer, in float64, so that a further factor does not round twice."""
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy().astype(np.float64)


def _initializer(graph: ir.Graph, name: str, values: Array) -> ir.Value:
    tensor = ir.tensor(values.astype(np.float32), name=f"folded.{name}")
    of_type = ir.TensorType(ir.DataType.FLOAT)
    value = ir.Value(name=tensor.name, shape=ir.Shape(values.shape), type=of_type, const_value=tensor)
    graph.register_initializer(value)
    return value


def _only_user(node: ir.Node | None, op_type: str) -> ir.Node | None:
    """The one node that takes the output of `node`, if it is such an operation."""
    uses = list(node.outputs[0].uses()) if node else []
    if len(uses) != 1 or uses[0].node.op_type != op_type or (op_type == "Conv" and uses[0].idx != 0):
        return None
    return uses[0].node


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node that gives `value`, if it is such an operation and nothing else takes what it gives."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type != op_type or len(list(node.outputs[0].uses())) != 1:
        return None
    return node
