"""How many multiply-adds and bytes each operation of a model takes, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from convsmith.bundle.onnx_content import Graph, Node, constants_of
from convsmith.bundle.onnx_sizes import Size
from convsmith.bundle.onnx_work import _most_bytes, _products, _scratch, _work, check_model, limit_factor
from convsmith.errors import ConvsmithError

Shape = tuple[int, ...]


def operation(
    operator: str, given: list[Shape | None], made: Shape, domain: str = "", **attributes: Any
) -> tuple[Node, dict[str, Size]]:
    """An operation, and the sizes of what it is given (None: it is given nothing there) and makes, in float32."""
    names = ["" if shape is None else f"in{place}" for place, shape in enumerate(given)]
    shapes = {name: shape for name, shape in zip(names, given, strict=True) if shape is not None} | {"out": made}
    texts = {key: value for key, value in attributes.items() if isinstance(value, str)}
    numbers = {key: value for key, value in attributes.items() if isinstance(value, list)}
    node = Node(operator, domain, names, ["out"], numbers, texts)
    sizes = {name: Size(shape) for name, shape in shapes.items()}
    return node, {name: Size(size.shape, 4 * size.numel) for name, size in sizes.items()}


MADE = 16 * 7 * 5  # numbers of a convolution's result [1, 16, 7, 5]
CONV: tuple[list[Shape | None], Shape] = ([(1, 100, 9, 7), (16, 100, 3, 3)], (1, 16, 7, 5))


@pytest.mark.parametrize(
    ("operator", "given", "made", "attributes", "expected"),
    [
        ("Conv", *CONV, {}, MADE * 900),
        ("ConvInteger", *CONV, {}, MADE * 900),
        ("FusedConv", *CONV, {"domain": "com.microsoft"}, MADE * 900),
        ("DeformConv", *CONV, {}, MADE * 900),
        ("QLinearConv", [CONV[0][0], (), (), CONV[0][1]], CONV[1], {}, MADE * 900),
        ("ConvTranspose", [(1, 100, 9, 7), (100, 16, 3, 3)], (1, 16, 11, 9), {}, 100 * 63 * 144),
        ("MatMul", [(20, 300), (300, 40)], (20, 40), {}, 20 * 300 * 40),
        ("QLinearMatMul", [(20, 300), (), (), (300, 40)], (20, 40), {}, 20 * 300 * 40),
        ("Gemm", [(20, 300), (300, 40)], (20, 40), {}, 20 * 300 * 40),
        ("Gemm", [(300, 20), (300, 40)], (20, 40), {}, 20 * 300 * 40),
        ("FusedMatMul", [(20, 300), (300, 40)], (20, 40), {"domain": "com.microsoft"}, 20 * 300 * 40),
        ("MaxPool", [(1, 8, 9, 9)], (1, 8, 3, 3), {"kernel_shape": [30, 40]}, 72 * 1200),
        ("LRN", [(1, 80, 3, 3)], (1, 80, 3, 3), {"size": [50]}, 720 * 50),
        ("Det", [(7, 90, 90)], (7,), {}, 7 * 90**3),
        ("Einsum", [(20, 30), (30, 40)], (20, 40), {"equation": "ab,bc->ac"}, 24000),
        ("Einsum", [(9, 20, 30), (9, 30, 40)], (9, 20, 40), {"equation": "...ab, ...bc -> ...ac"}, 9 * 24000),
        ("Einsum", [(20, 9, 30), (30, 40, 9)], (20, 40, 9), {"equation": "a...b,bc...->ac..."}, 9 * 24000),
        ("Einsum", [(20, 30), (1, 40)], (20, 40), {"equation": "ab,bc->ac"}, 24000),
        ("Einsum", [(2, 3, 20, 30), (3, 30, 40)], (2, 3, 20, 40), {"equation": "...ab,...bc->...ac"}, 6 * 24000),
        ("Attention", [(2, 64, 32), (32, 96), (96,)], (2, 64, 32), {}, 128 * 96 * (128 + 32)),
        ("Attention", [(2, 64, 32), (2, 80, 32), (2, 80, 48)], (2, 64, 48), {}, 128 * 48 * (160 + 32)),
        ("Attention", [(2, 64, 32), None, None, (2, 70, 999)], (2, 64, 32), {}, 128 * 32 * (140 + 32)),
        ("NonMaxSuppression", [(1, 50, 4), (1, 3, 50)], (9, 3), {}, 200 * 150),
        ("LSTM", [(5, 6, 7), (8, 9)], (100,), {}, 210 * 100),
        ("RoiAlign", [(1, 2, 8, 8), (5, 4)], (5, 2, 3, 3), {"sampling_ratio": [12]}, 128 * 90 * 144),
        ("Strange", [(100,), (200,)], (300,), {"domain": "some.where"}, 200 * 300),
        ("Gelu", [(100,)], (100,), {"domain": "com.microsoft"}, 0),
        ("Add", [(100,), None], (100,), {"domain": "ai.onnx"}, 0),
    ],
)
def test_an_operation_makes_so_many_products(
    operator: str, given: list[Shape | None], made: Shape, attributes: dict[str, Any], expected: int
) -> None:
    node, sizes = operation(operator, given, made, **attributes)
    assert _products(node, [sizes.get(name) for name in node.inputs], sizes["out"].numel) == expected
    assert _work(node, sizes) >= expected


def test_an_operation_takes_as_long_as_its_products_or_else_its_numbers() -> None:
    assert _work(*operation("Add", [(100,), (1,), None], (100,))) == 16 * 201
    assert _work(*operation("MatMul", [(1, 300), (300, 1)], (1, 1))) == 16 * 601
    assert _work(*operation("MatMul", [(200, 300), (300, 200)], (200, 200))) == 200 * 300 * 200


@pytest.mark.parametrize(
    ("operator", "given", "made", "attributes", "expected"),
    [
        ("Conv", *CONV, {}, 35 * 900),
        ("QLinearConv", [CONV[0][0], (), (), CONV[0][1]], CONV[1], {}, 35 * 900),
        ("ConvTranspose", [(2, 100, 9, 7), (100, 16, 3, 3)], (2, 16, 11, 9), {}, 4 * 63 * 144),
        ("LRN", [(2, 80, 3, 5)], (2, 80, 3, 5), {"size": [50]}, 4 * 15 * 130),
        ("RoiAlign", [(1, 2, 8, 8), (5, 4)], (5, 2, 3, 7), {"sampling_ratio": [12]}, 48 * 21 * 144),
        ("Attention", [(2, 64, 32), (2, 80, 32)], (2, 64, 32), {"q_num_heads": [8]}, 4 * 8 * 128 * 80),
        ("MultiHeadAttention", [(2, 64, 32)], (2, 64, 32), {"num_heads": [4]}, 4 * 4 * 128 * 64),
        ("Einsum", [(20, 30), (30, 40), (40,)], (20,), {"equation": "ab,bc,c->a"}, 4 * 24000),
        ("Einsum", [(20, 30), (30, 40)], (20, 40), {"equation": "ab,bc->ac"}, 0),
        ("Add", [(100,), (100,)], (100,), {}, 0),
    ],
)
def test_an_operation_takes_memory_for_itself(
    operator: str, given: list[Shape | None], made: Shape, attributes: dict[str, Any], expected: int
) -> None:
    assert _scratch(*operation(operator, given, made, **attributes)) == expected


def step(given: str, made: str) -> Node:
    return Node("Relu", "", given.split(), made.split(), {}, {})


def test_values_are_kept_until_the_last_that_takes_them() -> None:
    graph = Graph([step("images", "a"), step("a", "b"), step("b", "c"), step("a c", "d"), step("d", "e")])
    sizes = {"images": Size(())} | {name: Size((), 2**place) for place, name in enumerate("abcde")}
    assert _most_bytes(graph, sizes, set()) == 8 + 16
    assert _most_bytes(Graph(graph.nodes[:4]), sizes, set()) == 1 + 4 + 8  # a, c and d
    assert _most_bytes(Graph(graph.nodes[:3]), sizes, set()) == 2 + 4
    assert _most_bytes(graph, sizes, {"a", "b"}) == 1 + 2 + 8 + 16
    assert _most_bytes(Graph([]), sizes, set()) == 0


def test_a_value_that_nothing_takes_is_gone_at_once() -> None:
    graph = Graph([step("images", "a"), step("images", "b"), step("images", "c")])
    assert _most_bytes(graph, {name: Size((), 10) for name in "abc"}, set()) == 10


def test_constant_is_what_depends_on_no_image() -> None:
    graph = Graph([step("", "a"), step("a", "b"), step("b images", "c"), step("c", "d"), step("a b", "e")])
    assert constants_of(graph) == {"", "a", "b", "e"}


@pytest.mark.parametrize(("text", "factor"), [("0", 0), ("0.5", 0.5), ("3", 3)])
def test_the_limit_is_a_factor(text: str, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_MODEL_LIMIT", text)
    assert limit_factor() == factor


@pytest.mark.parametrize("text", ["-1", "inf", "nan", "much"])
def test_a_limit_is_a_number_from_0(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_MODEL_LIMIT", text)
    with pytest.raises(ConvsmithError, match=f"CONVSMITH_MODEL_LIMIT is `{text}`"):
        limit_factor()


def test_without_a_variable_models_may_take_what_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVSMITH_MODEL_LIMIT", raising=False)
    assert limit_factor() == 1


def test_what_is_not_a_model_is_an_error() -> None:
    with pytest.raises(ConvsmithError, match="onnxruntime cannot load the model"):
        check_model(b"no model")
