"""A model whose bytes another reader takes for another model is refused, or weighed as what that reader sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from convsmith.bundle.onnx_content import GRAPH
from convsmith.bundle.predictor import load
from convsmith.bundle.protobuf import field, fields_of, message
from convsmith.errors import ConvsmithError
from tests.bundle.heavy_models import MODELS, boxes
from tests.colours import colour_model, write_colour_bundle

NODE, ATTRIBUTE = 1, 5
HEAVY, _ = MODELS["products of constants"]
SUM, TOO_LONG = MODELS["an Einsum that adds up"]
EQUATION = b"zb,zc,...d,ae,xf->"
NOT_ONNX, TWO_VALUES = "not ONNX", "an attribute with two values"


def changed(content: bytes, change: Callable[[bytes], bytes], *path: int) -> bytes:
    """A message in which all messages are changed that a path of fields leads to."""
    if not path:
        return change(content)
    return b"".join(
        field(number, changed(bytes(message(value)), change, *path[1:]) if number == path[0] else value)
        for number, value in fields_of(memoryview(content))
    )


def of_more_bits() -> bytes:
    """A graph in a field whose number has further bits: protobuf in C++ leaves them away."""
    graph = next(message(value) for number, value in fields_of(memoryview(HEAVY())) if number == GRAPH)
    tag, *rest = field(GRAPH, graph)
    return colour_model() + bytes([tag | 128, 128, 128, 128, 16, *rest])


def with_attribute(more: bytes) -> bytes:
    return changed(boxes(1), lambda it: it + more if b"sampling_ratio" in it else it, GRAPH, NODE, ATTRIBUTE)


WRITTEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "a second graph, which is added to the first": (lambda: HEAVY() + field(GRAPH, b""), "two graphs"),
    "a graph behind a number of more bits": (of_more_bits, NOT_ONNX),
    "an operator in four bytes, which is not text": (
        lambda: changed(SUM(), lambda it: it + b"\x25Relu" if b"Einsum" in it else it, GRAPH, NODE),
        TOO_LONG,
    ),
    "a value before the name of its attribute": (
        lambda: SUM().replace(field(1, b"equation") + field(4, EQUATION), field(4, EQUATION) + field(1, b"equation")),
        TOO_LONG,
    ),
    "a number twice": (lambda: with_attribute(field(3, 0)), TWO_VALUES),
    "a number, and several": (lambda: with_attribute(field(8, 0)), TWO_VALUES),
    "a number in bytes": (
        lambda: boxes(1).replace(b"sampling_ratio\x18\x01\xa0\x01\x02", b"sampling_ratio\x1a\x03\x01\x01\x01"),
        NOT_ONNX,
    ),
    "an attribute twice": (
        lambda: changed(
            boxes(1),
            lambda it: it + field(ATTRIBUTE, field(1, b"sampling_ratio") + field(3, 2)) if b"RoiAlign" in it else it,
            GRAPH,
            NODE,
        ),
        TWO_VALUES,
    ),
}


@pytest.mark.parametrize("what", WRITTEN)
def test_it_is_not_opened(what: str, tmp_path: Path) -> None:
    make, reason = WRITTEN[what]
    with pytest.raises(ConvsmithError, match=reason):
        load(write_colour_bundle(tmp_path / "b", make()))
