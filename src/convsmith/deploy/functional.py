"""Graphs of torch.export as the ONNX exporter takes them, without tracing each operation a second time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from convsmith.machine import attribute_kept

_aten = torch.ops.aten


@contextmanager
def traced_once() -> Iterator[None]:
    """Let a program whose operations can be made functional one by one be taken as its own decomposition.

    What the exporter has no translation for, it then refuses: that has to be decomposed after all.
    """
    decompose = ExportedProgram.run_decompositions

    def run(program: ExportedProgram, table: Any = None) -> ExportedProgram:
        return program if make_functional(program.graph_module) else decompose(program, table)

    with attribute_kept(ExportedProgram, "run_decompositions"):
        ExportedProgram.run_decompositions = run  # type: ignore[method-assign]
        yield


def make_functional(module: fx.GraphModule) -> bool:
    """Let no operation of a graph change its input, and say whether that could be done; what the graph says stays.

    `relu_(x)` becomes `relu(x)`, which stands for `x` in all that follows. It cannot be done where `x` may share its
    memory with another value.
    """
    number = {node: i for i, node in enumerate(module.graph.nodes)}
    if any(node.op not in ("placeholder", "call_function", "output") for node in number):
        return False
    for node in number:
        if _changes_input(node):
            if not _is_replaced(node, number):
                return False
        else:
            _translate(node)
    module.recompile()
    return True


def _translate(node: fx.Node) -> None:
    """Say by other words what our models do and the exporter has no translation for, as decomposition would."""
    if node.target is _aten.to.dtype and len(node.args) == 2 and not node.kwargs:
        images, dtype = node.args
        node.target, node.args, node.kwargs = _aten._to_copy.default, (images,), {"dtype": dtype}
    elif node.target is _aten.adaptive_avg_pool2d.default and node.args[1] in ([1, 1], (1, 1)):
        node.target, node.args = _aten.mean.dim, (node.args[0], [-1, -2], True)


def _is_replaced(node: fx.Node, number: Mapping[fx.Node, int]) -> bool:
    """Replace an operation that changes its first input; whether there is another one that says the same.

    Args:
        node: no operation before it changes its input.
        number: each node's place in the graph.
    """
    (packet, _, overload), changed = _name(node).partition("."), node.args[0]
    functional = getattr(_aten, packet.removesuffix("_"), None)
    if not packet.endswith("_") or functional is None or overload not in functional.overloads():
        return False
    if not isinstance(changed, fx.Node) or _may_be_a_view(changed):
        return False
    if any(_may_be_a_view(user) for user in changed.users if number[user] < number[node]):
        return False
    if len({it.meta["val"].dtype for it in node.all_input_nodes if isinstance(it.meta.get("val"), Tensor)}) > 1:
        return False  # the other one may give another type
    node.target = getattr(functional, overload)
    changed.replace_all_uses_with(node, lambda user: number[user] > number[node])
    return True


def _changes_input(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _may_be_a_view(node: fx.Node) -> bool:
    """Whether what a node gives may lie in the memory of what it takes."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return True
    return "dropout" in _name(node) or any(it.alias_info for it in node.target._schema.returns)


def _name(node: fx.Node) -> str:
    """The name of an operation and its overload, such as `add_.Tensor`."""
    assert isinstance(node.target, torch._ops.OpOverload)
    return node.target.__name__
