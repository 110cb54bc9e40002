"""Sizes of all that an ONNX model computes, known before it computes anything.

onnxruntime works them out when it reads a model. What it reads here is a copy without weights, of which nothing larger
than a shape is computed: all that is computed is its output, and each weight an input of that shape.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

from convsmith.bundle.onnx_content import GRAPH, Graph, tensor_of
from convsmith.bundle.protobuf import field, fields_of, message, within

_MOST_KEPT = 64  # numbers of a tensor that can be a shape, or say where to cut, split or pad
_MOST_COMPUTED = "512"  # bytes of a shape, or what a shape is made of
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _STATED = 1, 5, 11, 12, 13  # fields of a graph
_OPERATORS = 8  # field of a model
_INPUTS_FOR_AXES = 13  # the first version of the operators in which Unsqueeze takes its axes as an input
_INT64 = 7
_BYTES = {"float16": 2, "bfloat16": 2, "float": 4, "int32": 4, "uint32": 4, "int16": 2, "uint16": 2}
_BYTES |= dict.fromkeys(("int8", "uint8", "bool"), 1)


@dataclass(frozen=True)
class Size:
    """The shape of a value, and the bytes that it takes."""

    shape: tuple[int, ...]
    bytes: int = 0

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)


class Sizes:
    """Says how large each value is that a model computes of images of a shape.

    Args:
        model: an ONNX model.
        graph: what `check_onnx` read of it.

    Attributes:
        images: the shape of the images that it takes; None for a side that it leaves open.

    Raises:
        ValueError: it has several inputs, or none.
    """

    def __init__(self, model: bytes, graph: Graph) -> None:
        self._graph = graph
        of_model = [(number, value) for number, value in fields_of(memoryview(model)) if number != GRAPH]
        # before the fourth version of the format, each tensor would have to be an input too
        self._model = b"".join(field(n, max(4, v) if n == 1 and isinstance(v, int) else v) for n, v in of_model)
        self._opset = max((_version(message(value)) for n, value in of_model if n == _OPERATORS), default=1)
        self._without_weights, inputs = _without_weights(within(memoryview(model), GRAPH), graph)
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs instead of one")
        self._input = inputs[0]
        self.images = inputs[0].shape

    def of(self, shape: tuple[int, ...]) -> dict[str, Size]:
        """The size of each value that is computed, and that of each tensor of the model.

        Raises:
            ValueError: a size depends on more than that of the images.
            Exception: onnxruntime refuses the model.
        """
        names = [name for node in self._graph.nodes for name in node.outputs if name]
        sizes = self._read(shape, names)
        # No dimensions, or an unknown number of them? That of a value with one dimension more tells.
        if doubtful := [name for name, size in sizes.items() if size is not None and not size.shape]:
            sizes |= self._read(shape, doubtful, doubted=True)
        known = {name: Size(tensor.shape) for name, tensor in self._graph.tensors.items()}
        known |= {name: size for name, size in sizes.items() if size is not None}
        for node in self._graph.nodes:
            if not known.keys() >= {name for name in node.outputs if name}:
                raise ValueError(f"the size of what its {node.operator} gives depends on more than that of the image")
        return known | {self._input.name: Size(shape)}

    def _read(self, shape: tuple[int, ...], names: Collection[str], doubted: bool = False) -> dict[str, Size | None]:
        """Sizes of values; None where onnxruntime does not know one."""
        import onnxruntime

        more = "+" if doubted else ""
        parts = [self._without_weights, field(_INPUT, _value(self._input.name, self._input.type, shape))]
        parts += [field(_OUTPUT, field(1, f"{name}{more}".encode())) for name in names]
        if doubted:
            parts.append(field(_INITIALIZER, field(1, 1) + field(2, _INT64) + field(7, 0) + field(8, b"+axis")))
            as_input = self._opset >= _INPUTS_FOR_AXES
            parts += [field(_NODE, _one_dimension_more(name.encode(), as_input)) for name in names]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", _MOST_COMPUTED)
        # which compares each operation with each other one
        options.add_session_config_entry("optimization.disable_specified_optimizers", "CommonSubexpressionElimination")
        content = self._model + field(GRAPH, b"".join(parts))
        with quiet():
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        found: dict[str, Size | None] = {}
        for value in session.get_outputs():
            sides, name = value.shape, value.name.removesuffix(more)
            is_known = all(isinstance(side, int) for side in sides) and (bool(sides) or not doubted)
            each = _BYTES.get(value.type.removeprefix("tensor(").removesuffix(")"), 8)
            found[name] = Size(tuple(sides[len(more) :]), prod(sides) * each) if is_known else None
        return found


@contextmanager
def quiet() -> Iterator[None]:
    """Print nothing of what onnxruntime says: errors are raised, so they need not be printed too."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(2)  # its default


@dataclass(frozen=True)
class _Input:
    name: str
    type: int  # by its number in onnx.proto
    shape: list[int | None]


def _without_weights(content: memoryview, graph: Graph) -> tuple[bytes, list[_Input]]:
    """The fields of a graph, without inputs and outputs, weights as inputs; and what its inputs were."""
    parts, inputs = [], []
    for number, value in fields_of(content):
        if number == _INPUT:
            inputs.append(_input(message(value)))
        elif number == _INITIALIZER and prod((tensor := tensor_of(message(value))).shape) > _MOST_KEPT:
            parts.append(field(_INPUT, _value(tensor.name, tensor.type, tensor.shape)))
        elif number not in (_OUTPUT, _STATED):
            parts.append(field(number, value))
    return b"".join(parts), [it for it in inputs if it.name not in graph.tensors]


def _input(content: memoryview) -> _Input:
    name, tensor = within(content, 1), within(content, 2, 1)
    sides = [dict(fields_of(message(side))).get(1) for _, side in fields_of(within(tensor, 2))]
    kind = dict(fields_of(tensor)).get(1)
    shape = [side if isinstance(side, int) else None for side in sides]
    return _Input(str(name, "utf-8"), kind if isinstance(kind, int) else 0, shape)


def _value(name: str, kind: int, shape: Sequence[int]) -> bytes:
    sides = b"".join(field(1, field(1, side)) for side in shape)
    return field(1, name.encode()) + field(2, field(1, field(1, kind) + field(2, sides)))


def _one_dimension_more(name: bytes, axes_as_input: bool) -> bytes:
    axes = field(1, b"+axis") if axes_as_input else field(5, field(1, b"axes") + field(8, 0) + field(20, 7))
    return field(1, name) + axes + field(2, name + b"+") + field(4, b"Unsqueeze")


def _version(operators: memoryview) -> int:
    """The version of a set of operators; 0 of one that is not ONNX's own."""
    fields = dict(fields_of(operators))
    version = fields.get(2)
    is_own = bytes(message(fields.get(1, memoryview(b"")))) in (b"", b"ai.onnx")
    return version if is_own and isinstance(version, int) else 0
