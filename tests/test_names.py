"""One name, one thing: a noun of the design names one class, or one module-level type, of the package."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.conftest import REPOSITORY

NOUNS = (
    "Recipe", "Plan", "Run", "Bundle", "Task", "Source", "Format", "Observer", "Record", "Results", "Evaluation",
    "Objective", "Infer", "Batch", "Samples", "DataSet", "Checkpoint", "Progress", "ProgressCallback", "Ema", "Step",
    "Row", "Rows", "Classification", "Segmentation", "Trainer", "Stepper", "Parts",
)  # fmt: skip
ALLOWED = {"Task": 2}  # Slurm calls the processes of a job so, and queued jobs are pickled under that name


def names_of(text: str) -> list[str]:
    """The classes and the types that the top level of a module defines."""
    defined = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            defined.append(node.name)
        elif isinstance(node, ast.Assign):
            defined += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined.append(node.target.id)
    return defined


DEFINED = Counter(
    name for path in (REPOSITORY / "src/convsmith").rglob("*.py") for name in names_of(path.read_text("utf-8"))
)


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_names_one_thing(noun: str) -> None:
    assert DEFINED[noun] <= ALLOWED.get(noun, 1)


def test_definitions_of_all_kinds_are_found() -> None:
    assert names_of("class A: ...\nB = int\nC: type = str\ndef d(): ...\nif 1:\n    E = 2\n") == ["A", "B", "C"]


def test_the_package_is_read() -> None:
    assert DEFINED["Run"] == DEFINED["Progress"] == 1
