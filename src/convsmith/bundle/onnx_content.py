"""Operations of an ONNX file besides computing, found in its bytes: to read other files, or to repeat without an end.

Whoever made a bundle may be a stranger, and onnxruntime both reads the files that a model names and runs its loops for
as long as they say. The file is walked as protobuf, without the package `onnx`, and tensors are passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from convsmith.bundle.protobuf import Content, NotProtobuf, fields_of, integer, integers, message

_NOT_ONNX = "its bytes are not ONNX"
_SPARSE = "it has sparse values, of which a few bytes fill any memory"
GRAPH, _FUNCTION = 7, 25  # fields of a model
_MOST_NODES = 20_000  # HRNet-W48 with OCR in INT8 has some 4,000
_VALUES = frozenset(range(2, 12))  # fields of an attribute, of which it has one
_ONCE = (1, 3, 4, 5)  # of these that are not lists, and of its name
_ELSEWHERE = (13, 14)  # fields of a tensor: where else its values are, and that they are elsewhere
_LONGEST_SHAPE = 1024  # numbers
_MOST_CHANNELS = 1024  # that an LRN adds up; networks have 5
_MOST_SAMPLES = 16  # of a RoiAlign, in a row; networks have 2. With 0 the boxes say how many
# What onnxruntime follows the numbers of a shape through when it reads a file
_SHAPE_STAYS_KNOWN = ("Cast", "CastLike", "Squeeze", "Unsqueeze", "Concat", "Gather")


@dataclass(frozen=True)
class Node:
    """An operation; inputs that it is not given are empty names.

    Attributes:
        numbers: its attributes that are integers.
        texts: those that are text.
    """

    operator: str
    domain: str
    inputs: list[str]
    outputs: list[str]
    numbers: dict[str, list[int]]
    texts: dict[str, str]


@dataclass(frozen=True)
class Tensor:
    """Values that a graph holds."""

    name: str
    type: int  # by its number in onnx.proto
    shape: tuple[int, ...]


@dataclass
class Graph:
    """The operations of a model, in the order of its file, and the shapes of the values in it."""

    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)


def check_onnx(model: bytes) -> Graph:
    """The graph of an ONNX model that only computes.

    Raises:
        ValueError: with the reason, if it has graphs in a graph, functions of its own, values in other files, or what
            onnxruntime would read for ever.
    """
    graph = None
    try:
        for number, value in fields_of(memoryview(model)):
            if number == _FUNCTION:
                raise ValueError("it has functions of its own, which can hold each other many times over")
            if number == GRAPH and graph is not None:
                raise ValueError("it has two graphs, which runtimes make one of")
            if number == GRAPH:
                graph = _graph(message(value))
    except (NotProtobuf, UnicodeDecodeError) as error:
        raise ValueError(_NOT_ONNX) from error
    if graph is None:
        raise ValueError(_NOT_ONNX)
    _check_order(graph.nodes)
    _check_shapes(graph)
    _check_windows(graph.nodes)
    return graph


def constants_of(graph: Graph) -> set[str]:
    """Values that depend on no image: runtimes compute them as soon as they open a model, and keep them."""
    known = {"", *graph.tensors}
    for node in graph.nodes:
        if known.issuperset(node.inputs):
            known.update(node.outputs)
    return known


def _graph(content: memoryview) -> Graph:
    graph = Graph()
    for number, value in fields_of(content):
        if number == 1:
            _add_node(graph, message(value))
        elif number == 5:
            tensor = tensor_of(message(value))
            graph.tensors[tensor.name] = tensor
        elif number == 15:
            raise ValueError(_SPARSE)
    return graph


def _add_node(graph: Graph, content: memoryview) -> None:
    names: dict[int, list[str]] = {1: [], 2: [], 4: [""], 7: [""]}  # inputs, outputs, operator, domain
    numbers, texts, tensors = dict[str, list[int]](), dict[str, str](), list[Tensor]()
    for number, value in fields_of(content):
        if number in names:
            names[number].append(_text(value))
        elif number == 5:
            tensors += _read_attribute(message(value), numbers, texts)
    node = Node(names[4][-1], names[7][-1], names[1], names[2], numbers, texts)
    if node.operator == "Constant":
        tensors += [Tensor("", 0, (len(values),)) for values in numbers.values()]
        largest = max(tensors, key=lambda tensor: prod(tensor.shape), default=Tensor("", 0, ()))  # if it has several
        graph.tensors.update(dict.fromkeys(node.outputs, largest))
    graph.nodes.append(node)
    if len(graph.nodes) > _MOST_NODES:
        raise ValueError(f"it has more than {_MOST_NODES:,} operations")


def _read_attribute(content: memoryview, numbers: dict[str, list[int]], texts: dict[str, str]) -> list[Tensor]:
    """Put numbers and text of an attribute where those of its node are; its tensors."""
    name, text, values, tensors = "", "", list[int](), list[Tensor]()
    given = Counter(number for number, _ in fields_of(content))
    for number, value in fields_of(content):
        if number == 1:
            name = _text(value)
        elif number == 3:
            values.append(integer(value))
        elif number == 8:
            values += integers(value)
        elif number == 4:
            text = bytes(message(value)).decode(errors="replace")
        elif number in (5, 10):  # a tensor, several
            tensors.append(tensor_of(message(value)))
        elif number in (6, 11):  # a graph, several
            raise ValueError("it has an operator with a graph of its own, which may never end")
        elif number in (22, 23):  # sparse ones
            raise ValueError(_SPARSE)
    if name in numbers or len(_VALUES & given.keys()) > 1 or any(given[number] > 1 for number in _ONCE):
        raise ValueError("it has an attribute with two values, of which runtimes may take either")
    numbers[name], texts[name] = values, text
    return tensors


def tensor_of(content: memoryview) -> Tensor:
    """Name, type and shape of a tensor, whose values must be in the file."""
    name, kind, shape = "", 0, list[int]()
    for number, value in fields_of(content):
        if number in _ELSEWHERE and value:
            raise ValueError("its values are in other files, which could be any")
        if number == 1:
            shape += integers(value)
        elif number == 2:
            kind = integer(value)
        elif number == 8:
            name = _text(value)
    return Tensor(name, kind, tuple(shape))


def _check_order(nodes: Sequence[Node]) -> None:
    """Refuse a graph in which something is taken before it is given, as no exporter writes it."""
    later = Counter(name for node in nodes for name in node.outputs if name)
    for node in nodes:
        if any(later[name] for name in node.inputs):
            raise ValueError("its operations are not in the order in which they are computed")
        later.subtract(name for name in node.outputs if name)


def _check_shapes(graph: Graph) -> None:
    """Refuse shapes that grow: onnxruntime knows their numbers when it has read a file, however many there are."""
    lengths: dict[str, int] = {}
    for node in graph.nodes:
        if node.operator == "Shape":
            length = 16
        elif node.operator in _SHAPE_STAYS_KNOWN:
            length = _known(node, lengths, graph.tensors)
        else:
            continue
        if length > _LONGEST_SHAPE:
            raise ValueError(f"it makes a shape of more than {_LONGEST_SHAPE:,} numbers")
        lengths.update(dict.fromkeys(node.outputs, length))


def _check_windows(nodes: Sequence[Node]) -> None:
    """Refuse windows of any size: onnxruntime takes memory for them, of constants as soon as it reads a file."""
    for node in nodes:
        if node.operator == "LRN" and prod(node.numbers.get("size", ())) > _MOST_CHANNELS:
            raise ValueError(f"it has an LRN of more than {_MOST_CHANNELS:,} channels")
        if node.operator == "RoiAlign" and not 0 < sum(node.numbers.get("sampling_ratio", ())) <= _MOST_SAMPLES:
            raise ValueError(f"it has a RoiAlign that does not take 1 to {_MOST_SAMPLES} samples in a row")


def _known(node: Node, lengths: dict[str, int], tensors: dict[str, Tensor]) -> int:
    """How many numbers of a shape there are in what it gives; 0 where it is made of something else."""
    given = [lengths.get(name, 0) for name in node.inputs]
    if not any(given):
        return 0
    if node.operator == "Gather":
        chosen = tensors.get(node.inputs[-1])
        return prod(chosen.shape) if chosen is not None else max(given)
    return sum(given)


def _text(value: Content) -> str:
    return str(message(value), "utf-8")
