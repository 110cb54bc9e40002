"""Sizes of what a model computes, as onnx infers them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from convsmith.bundle.onnx_content import check_onnx
from convsmith.bundle.onnx_sizes import Size, Sizes


def sizes_of(opset: int = 17, images: tuple[int | str, ...] = ("n", 3, "h", "w"), inputs: int = 1) -> Sizes:
    """A model whose results have each number of dimensions from 0 to 4, and several types."""
    axes: dict[str, Any] = {} if opset >= 18 else {"axes": [2, 3]}
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["floats", "weights"], ["maps"], strides=[2, 2]),
        helper.make_node("ReduceMean", ["maps", *(["places"] if opset >= 18 else [])], ["means"], keepdims=0, **axes),
        helper.make_node("ReduceMean", ["means"], ["one"], keepdims=0),
        helper.make_node("Shape", ["maps"], ["shape"]),
        helper.make_node("Cast", ["maps"], ["halves"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["maps"], ["bytes"], to=TensorProto.UINT8),
        helper.make_node("Cast", ["maps"], ["doubles"], to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["maps"], ["words"], to=TensorProto.INT32),
        helper.make_node("Greater", ["maps", "one"], ["there"]),
    ]
    held = {"weights": np.ones((5, 3, 7, 7), np.float32), "places": np.array([2, 3])}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, images) for name in ("images", "more")[:inputs]],
        [helper.make_tensor_value_info("one", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    content = model.SerializeToString()
    return Sizes(content, check_onnx(content))


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
def test_each_value_has_its_shape_and_bytes(opset: int) -> None:
    sizes = sizes_of(opset)
    assert sizes.images == [None, 3, None, None]
    maps, numbers = (2, 5, 17, 13), 2 * 5 * 17 * 13
    assert sizes.of((2, 3, 40, 32)) == {
        "images": Size((2, 3, 40, 32)),
        "weights": Size((5, 3, 7, 7)),
        "places": Size((2,)),
        "floats": Size((2, 3, 40, 32), 4 * 2 * 3 * 40 * 32),
        "maps": Size(maps, 4 * numbers),
        "means": Size((2, 5), 40),
        "one": Size((), 4),
        "shape": Size((4,), 32),
        "halves": Size(maps, 2 * numbers),
        "bytes": Size(maps, numbers),
        "doubles": Size(maps, 8 * numbers),
        "words": Size(maps, 4 * numbers),
        "there": Size(maps, numbers),
    }
    assert Size(maps).numel == numbers


def test_a_model_has_one_input() -> None:
    assert sizes_of(images=(1, 3, 8, 8)).images == [1, 3, 8, 8]
    with pytest.raises(ValueError, match="it has 2 inputs instead of one"):
        sizes_of(inputs=2)
