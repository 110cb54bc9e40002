"""The preprocessing of a classifier as an ONNX model: pixels of an image of any size in, what the model sees out.

Decoding stays outside. Resizing is onnxruntime's with `antialias`, on bytes, and rounds some values to the next level
where Pillow does not; sizes, crops and padding are those of `convsmith.bundle.preprocess`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from convsmith.bundle.runtime import INPUT
from convsmith.spec import Preprocess

PIXELS = "pixels"
_OPSET, _IR_VERSION = 18, 8  # the first with `antialias`
FILTERS: dict[str, dict[str, Any]] = {
    "bilinear": {"mode": "linear", "antialias": 1, "exclude_outside": 1},
    "bicubic": {"mode": "cubic", "antialias": 1, "exclude_outside": 1, "cubic_coeff_a": -0.5},
}
_AXES = (2, 3)  # height and width


def preprocess_onnx(spec: Preprocess) -> bytes:
    """A model of `pixels`, uint8 [height, width, C], to `images`, uint8 [1, C, crop, crop]."""
    nodes, channels, crop = _Nodes(), spec.bands.channels, spec.crop
    image = nodes.add("Unsqueeze", nodes.add("Transpose", PIXELS, perm=[2, 0, 1]), nodes.constant([0]))
    if spec.method == "resize_then_crop":
        size = nodes.add("Shape", image, start=2)
        short = nodes.add("ReduceMin", size)
        size = nodes.add("Div", nodes.add("Mul", size, nodes.constant([spec.resize])), short)
        image = _resized(nodes, image, size, spec)
        image = _cropped(nodes, image, size, spec)
    else:
        if spec.method == "crop_then_resize":
            image = _central_square(nodes, image, crop / spec.resize)
        image = _resized(nodes, image, nodes.constant([crop, crop]), spec)
    nodes.add("Identity", image, output=INPUT)
    graph = helper.make_graph(
        nodes.made,
        "preprocess",
        [helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["height", "width", channels])],
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [1, channels, crop, crop])],
        nodes.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class _Nodes:
    """Operations in order, whose results are named by numbers."""

    def __init__(self) -> None:
        self.made: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator}_{len(self.made)}"
        self.made.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, values: Any, dtype: type = np.int64) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name


def _resized(nodes: _Nodes, image: str, wanted: str, spec: Preprocess) -> str:
    """The image in the wanted height and width: one side and then the other, each rounded to bytes, as Pillow does.

    It begins with the rows, since its version 13 with the columns where the height loses more than twice as many pixels
    as the width.
    """
    now = nodes.add("Shape", image, start=2)
    loses = nodes.add("Sub", now, wanted)
    height, width = (nodes.add("Gather", loses, nodes.constant([side])) for side in range(2))
    twice = nodes.add("Mul", width, nodes.constant(2))
    first = nodes.add("Greater", height, nodes.add("Max", twice, nodes.constant(0)))
    first_and_second = nodes.add("Concat", first, nodes.add("Not", first), axis=0)  # whether each side comes first
    for size in (nodes.add("Where", first_and_second, wanted, now), wanted):
        shape = nodes.add("Concat", nodes.constant([1, spec.bands.channels]), size, axis=0)
        image = nodes.add("Resize", image, "", "", shape, **FILTERS[spec.interpolation])
    return image


def _cropped(nodes: _Nodes, image: str, size: str, spec: Preprocess) -> str:
    """The centre of an image of that size; where it is smaller than the crop, with black around it."""
    crop = nodes.constant([spec.crop])
    half = nodes.add("Cast", nodes.add("Sub", size, crop), to=TensorProto.FLOAT)
    half = nodes.add("Div", half, nodes.constant(2, np.float32))
    start = nodes.add("Round", half)  # half to even, as Python does
    if spec.resize < spec.crop:
        is_smaller = nodes.add("Less", half, nodes.constant(0, np.float32))
        start = nodes.add("Where", is_smaller, nodes.add("Ceil", half), start)
        black = [0, 0, spec.crop, spec.crop] * 2
        image = nodes.add("Pad", image, nodes.constant(black), nodes.constant(0, np.uint8))
        start = nodes.add("Add", start, nodes.constant(spec.crop, np.float32))
    start = nodes.add("Cast", start, to=TensorProto.INT64)
    return nodes.add("Slice", image, start, nodes.add("Add", start, crop), nodes.constant(_AXES))


def _central_square(nodes: _Nodes, image: str, share: float) -> str:
    """A square in the centre with a share of the shorter side, rounded as in `convsmith.bundle.preprocess`."""
    size = nodes.add("Cast", nodes.add("Shape", image, start=2), to=TensorProto.DOUBLE)
    side = nodes.add("Mul", nodes.add("ReduceMin", size), nodes.constant(share, np.float64))
    spare = nodes.add("Div", nodes.add("Sub", size, side), nodes.constant(2, np.float64))
    start = nodes.add("Round", spare)
    least = nodes.add("Add", start, nodes.constant(1, np.float64))
    end = nodes.add("Max", least, nodes.add("Round", nodes.add("Add", start, side)))
    start, end = (nodes.add("Cast", it, to=TensorProto.INT64) for it in (start, end))
    return nodes.add("Slice", image, start, end, nodes.constant(_AXES))
