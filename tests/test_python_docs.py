"""What docs/python.md shows can be called, and its functions can be steps of an augmentation."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from types import FunctionType, ModuleType
from typing import Any

import pytest

import convsmith as cs
from convsmith.data.augment.custom import try_custom
from convsmith.tables import Tabular
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs/python.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CALLS = [
    node
    for block in BLOCKS
    for node in ast.walk(ast.parse(block))
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("cs.")
]
ROWS = re.findall(r"^\| `cs\.(\w+)\((.*?)\)` \| `(\w+)` \|", PAGE, re.MULTILINE)


def class_of(name: str, function: FunctionType) -> Any:
    """The class that a function's annotation names; None for none, or one of another library."""
    return getattr(cs, name, None) if name in cs.__all__ else getattr(sys.modules[function.__module__], name, None)


@pytest.mark.parametrize("call", CALLS, ids=ast.unparse)
def test_every_call_fits_its_function(call: ast.Call) -> None:
    function = getattr(cs, ast.unparse(call.func).removeprefix("cs."))
    inspect.signature(function).bind(*call.args, **{str(word.arg): word.value for word in call.keywords})


@pytest.mark.parametrize(("name", "answer"), [(name, answer) for name, _, answer in ROWS])
def test_every_answer_is_the_one_that_is_listed_and_tabular(name: str, answer: str) -> None:
    function = inspect.unwrap(getattr(cs, name))
    assert function.__annotations__["return"] == answer
    assert issubclass(class_of(answer, function), Tabular)


def test_every_function_with_such_an_answer_is_listed() -> None:
    found = set()
    for name in cs.__all__:
        function = inspect.unwrap(value) if inspect.isfunction(value := getattr(cs, name)) else None
        answer = function and class_of(str(function.__annotations__["return"]), function)
        if inspect.isclass(answer) and issubclass(answer, Tabular):
            found.add(name)
    assert found == {name for name, _, _ in ROWS}


@pytest.mark.parametrize(("name", "with_mask"), [("speckle", False), ("turned", True)])
def test_a_step_that_is_shown_can_be_one(name: str, with_mask: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (block for block in BLOCKS if "def speckle" in block)
    module = ModuleType("mytransforms")
    exec(block, module.__dict__)
    monkeypatch.setitem(sys.modules, "mytransforms", module)
    try_custom(f"mytransforms:{name}", (8, 8), with_mask)
