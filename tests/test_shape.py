"""The shape of the code: what a call can be read by, and what imports what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

import convsmith

PACKAGE = Path(convsmith.__file__).parent
MOST = 5


def too_long(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [it.arg for it in node.args.posonlyargs + node.args.args]
            given = names[1:] if names[:1] in (["self"], ["cls"], ["ctx"]) else names
            if len(given) > MOST:
                yield f"{node.name}({', '.join(names)})"


def test_a_sixth_parameter_is_seen_and_one_by_keyword_is_not() -> None:
    methods = "def f(self, a, b, c, d, e, /, f): ...", "def g(self, a, b, c, d, e, *, f): ..."
    assert list(too_long("\n".join(methods))) == ["f(self, a, b, c, d, e, f)"]


def test_a_function_takes_at_most_five_positional_parameters() -> None:
    paths = list(PACKAGE.rglob("*.py"))
    assert len(paths) > 200
    assert not {str(path): found for path in paths if (found := list(too_long(path.read_text())))}


def test_no_files_import_each_other_be_it_inside_functions() -> None:
    graph = grimp.build_graph("convsmith", exclude_type_checking_imports=True)
    assert len(graph.modules) > 200
    TopologicalSorter({it: graph.find_modules_directly_imported_by(it) for it in graph.modules}).prepare()
