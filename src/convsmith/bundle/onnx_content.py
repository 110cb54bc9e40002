"""Operations of an ONNX file besides computing, found in its bytes: to read other files, or to repeat without an end.

Whoever made a bundle may be a stranger, and onnxruntime both reads the files that a model names and runs its loops for
as long as they say. The file is walked as protobuf, without the package `onnx`, and tensors are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator

_NOT_ONNX = "its bytes are not ONNX"
# What the messages inside a message are, by number of the field (onnx.proto).
_INSIDE = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_OPERATOR = 4  # of a node
_EXTERNAL = (13, 14)  # of a tensor: where else its values are, and that they are elsewhere
_REPEATING = (b"Loop", b"Scan", b"SequenceMap", b"BeamSearch", b"GreedySearch", b"Sampling", b"WhisperBeamSearch")
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # kinds of fields


def check_onnx(model: bytes) -> None:
    """Raise a ValueError with the reason if an ONNX model has loops, functions of its own, or values in other files."""
    todo, graphs = [("model", memoryview(model))], 0
    try:
        while todo:
            kind, content = todo.pop()
            graphs += kind == "graph"
            for number, value in _fields(content):
                if kind == "node" and number == _OPERATOR and bytes(_message(value)) in _REPEATING:
                    raise ValueError(f"it has the operator {bytes(_message(value)).decode()}, which may never end")
                if kind == "tensor" and number in _EXTERNAL and value:
                    raise ValueError("its values are in other files, which could be any")
                inside = _INSIDE.get(kind, {}).get(number)
                if inside == "function":
                    raise ValueError("it has functions of its own, which can hold each other many times over")
                if inside is not None:
                    todo.append((inside, _message(value)))
    except IndexError as error:
        raise ValueError(_NOT_ONNX) from error
    if not graphs:
        raise ValueError(_NOT_ONNX)


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError(_NOT_ONNX)
    return value


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and value of each field of a message."""
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(content, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(content, place)
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(_NOT_ONNX)
        if place + size > len(content):
            raise ValueError(_NOT_ONNX)
        yield number, content[place : place + size]
        place += size


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    """The number that begins there, and where it ends."""
    number = shift = 0
    while True:
        byte = content[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
        if shift > 63:
            raise ValueError(_NOT_ONNX)
