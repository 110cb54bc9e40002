"""Nothing outside a task's own files compares a task's name, or asks for the type of what a task gives."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import convsmith
from convsmith.bundle.tasks import list_tasks

SOURCE = Path(convsmith.__file__).parent
OWN = ("bundle/tasks/", "tasks/", "recipe/tasks/")
TYPES = {
    "Classification",
    "Multilabel",
    "Segmentation",
    "ClassificationResults",
    "MultilabelResults",
    "SegmentationResults",
    "ClassificationTask",
    "MultilabelTask",
    "SegmentationTask",
    "ImageFolder",
    "MaskFolder",
    "Index",
    "PairIndex",
}


def files() -> Iterator[Path]:
    for path in SOURCE.rglob("*.py"):
        if not path.relative_to(SOURCE).as_posix().startswith(OWN):
            yield path


def compared_names(tree: ast.AST) -> Iterator[int]:
    """Lines that compare something with a task's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            constants = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
            if constants & set(list_tasks()):
                yield node.lineno


def asked_types(tree: ast.AST) -> Iterator[int]:
    """Lines that call isinstance with a type that belongs to one task."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            names = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
            if names & TYPES:
                yield node.lineno


@pytest.mark.parametrize("find", [compared_names, asked_types])
def test_no_file_outside_a_tasks_own_knows_it(find: object) -> None:
    assert callable(find)
    found = {
        f"{path.relative_to(SOURCE).as_posix()}:{line}"
        for path in files()
        for line in find(ast.parse(path.read_text()))
    }
    assert found == set()


def test_a_comparison_and_a_question_for_a_type_are_found() -> None:
    tree = ast.parse('a = task == "segmentation"\nb = isinstance(answer, Classification | int)\n')
    assert (list(compared_names(tree)), list(asked_types(tree))) == ([1], [2])
