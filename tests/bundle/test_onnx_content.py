"""What is read of an ONNX file's graph, and the limits of what it may hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, NodeProto, OperatorSetIdProto, TensorProto, helper, numpy_helper

from convsmith.bundle import onnx_content
from convsmith.bundle.onnx_content import Node, Tensor, check_onnx


def model(*nodes: NodeProto, tensors: dict[str, Any] | None = None) -> bytes:
    """A model of these operations, with constants of these values."""
    held = [numpy_helper.from_array(np.array(value), name) for name, value in (tensors or {}).items()]
    graph = GraphProto(name="graph", node=nodes, initializer=held)
    content: bytes = helper.make_model(graph, opset_imports=[OperatorSetIdProto(version=17)]).SerializeToString()
    return content


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def test_operations_and_tensors_are_read_as_they_are_written() -> None:
    graph = check_onnx(
        model(
            helper.make_node("Clip", ["images", "", "most"], ["a", "b"]),
            node("Einsum", "a", "c", equation="ab->a", domain="some.where"),
            node("Pool", "c", "d", kernel_shape=[3, 400], auto_pad="SAME_UPPER", ceil_mode=1, scale=0.5),
            tensors={"most": np.float32(3), "weights": np.zeros((2, 300), np.int64)},
        )
    )
    assert graph.nodes == [
        Node("Clip", "", ["images", "", "most"], ["a", "b"], {}, {}),
        Node("Einsum", "some.where", ["a"], ["c"], {"equation": []}, {"equation": "ab->a"}),
        Node(
            "Pool",
            "",
            ["c"],
            ["d"],
            {"kernel_shape": [3, 400], "auto_pad": [], "ceil_mode": [1], "scale": []},
            {"kernel_shape": "", "auto_pad": "SAME_UPPER", "ceil_mode": "", "scale": ""},
        ),
    ]
    assert graph.tensors == {
        "most": Tensor("most", TensorProto.FLOAT, ()),
        "weights": Tensor("weights", TensorProto.INT64, (2, 300)),
    }


def test_a_constant_is_a_tensor_of_what_it_gives() -> None:
    value = numpy_helper.from_array(np.zeros((4, 5), np.float32))
    both = node("Constant", "", "c", value=value, value_ints=[1, 2, 3])
    graph = check_onnx(
        model(node("Constant", "", "a", value=value), node("Constant", "", "b", value_ints=[1, 2, 3]), both)
    )
    assert {name: it.shape for name, it in graph.tensors.items()} == {"a": (4, 5), "b": (3,), "c": (4, 5)}


def test_an_operation_takes_only_what_was_given_before() -> None:
    check_onnx(model(node("Relu", "images", "a"), node("Relu", "a", "b")))
    with pytest.raises(ValueError, match="not in the order in which they are computed"):
        check_onnx(model(node("Relu", "a", "b"), node("Relu", "images", "a")))
    with pytest.raises(ValueError, match="not in the order in which they are computed"):
        check_onnx(model(node("Relu", "a", "a")))


@pytest.mark.parametrize(("limit", "refused"), [(3, False), (2, True)])
def test_so_many_operations_are_read(limit: int, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_content, "_MOST_NODES", limit)
    content = model(*(node("Relu", "images", name) for name in "abc"))
    if not refused:
        assert len(check_onnx(content).nodes) == limit
        return
    with pytest.raises(ValueError, match="more than 2 operations"):
        check_onnx(content)


def shapes(count: int, *more: NodeProto, **tensors: Any) -> bytes:
    """A model that joins `count` shapes, of up to 16 numbers each."""
    made = [node("Shape", "images", f"s{i}") for i in range(count)]
    joined = node("Concat", " ".join(f"s{i}" for i in range(count)), "joined", axis=0)
    return model(*made, joined, *more, tensors=tensors)


TOO_LONG = "a shape of more than 1,024 numbers"
TAKEN = node("Gather", "joined places", "taken")
DOUBLED = node("Concat", "taken taken", "doubled", axis=0)


@pytest.mark.parametrize(
    "content",
    [
        shapes(64),
        shapes(2, node("Relu", "joined", "other"), *(node("Concat", "other " * 100, "more", axis=0),)),
        shapes(2, TAKEN, DOUBLED, places=np.zeros(512, np.int64)),
        shapes(64, node("Gather", "joined images", "taken")),
        model(node("Concat", "images " * 2000, "joined", axis=0)),
    ],
)
def test_a_shape_of_up_to_1024_numbers_is_read(content: bytes) -> None:
    check_onnx(content)


@pytest.mark.parametrize(
    "content",
    [
        shapes(65),
        shapes(33, node("Unsqueeze", "joined", "a"), node("Cast", "a", "b"), node("Concat", "a b", "c", axis=0)),
        shapes(2, TAKEN, DOUBLED, places=np.zeros((3, 171), np.int64)),
        shapes(33, node("Gather", "joined images", "taken"), DOUBLED),
        shapes(2, TAKEN, places=np.zeros(1025, np.int64)),
        model(
            node("Shape", "images", "joined"),
            node("Constant", "", "places", value=numpy_helper.from_array(np.zeros(1025, np.int64))),
            TAKEN,
        ),
    ],
)
def test_a_longer_one_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=TOO_LONG):
        check_onnx(content)


@pytest.mark.parametrize(
    ("operator", "attributes", "problem"),
    [
        ("LRN", {"size": 1024}, None),
        ("LRN", {"size": 1025}, "more than 1,024 channels"),
        ("RoiAlign", {"sampling_ratio": 1}, None),
        ("RoiAlign", {"sampling_ratio": 16}, None),
        ("RoiAlign", {"sampling_ratio": 17}, "1 to 16 samples in a row"),
        ("RoiAlign", {"sampling_ratio": 0}, "1 to 16 samples in a row"),
        ("RoiAlign", {}, "1 to 16 samples in a row"),
        ("Relu", {"size": 2000, "sampling_ratio": 0}, None),
    ],
)
def test_windows_have_a_limit(operator: str, attributes: dict[str, int], problem: str | None) -> None:
    content = model(node(operator, "images", "a", **attributes))
    if problem is None:
        check_onnx(content)
        return
    with pytest.raises(ValueError, match=problem):
        check_onnx(content)


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"x"])
def test_other_bytes_are_not_onnx(content: bytes) -> None:
    with pytest.raises(ValueError, match="its bytes are not ONNX"):
        check_onnx(content)
