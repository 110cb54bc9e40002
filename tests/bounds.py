"""The numbers of a folder of the source: constants of its modules, and what functions and classes take for granted.

    python -m tests.bounds

writes those of all folders that have such a file anew.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import convsmith

SOURCE, TESTS = Path(convsmith.__file__).parent, Path(__file__).parent
NAME = "bounds.json"


def bounds_of(room: str) -> dict[str, dict[str, Any]]:
    """By module and name, the numbers and truth values that are written down there, and what holds nothing else."""
    files = sorted((SOURCE / room).rglob("*.py"))
    found = {str(file.relative_to(SOURCE / room).with_suffix("")): dict(_bounds(file)) for file in files}
    return {module: bounds for module, bounds in found.items() if bounds}


def _bounds(file: Path) -> Iterator[tuple[str, Any]]:
    known: dict[str, Any] = {}  # of the module so far, of which later ones may be made
    for name, node in _defaults(ast.parse(file.read_text("utf-8")), ""):
        limits = [ast.unparse(keyword) for keyword in _limits(node) if isinstance(keyword.value, ast.Constant)]
        if limits:
            yield name, " ".join(limits)
            continue
        match node:
            case ast.Call(func=ast.Name("Field"), args=[default]):
                node = default
        try:
            value = eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": {"range": range}}, known)
        except Exception:  # it is made of something else than numbers
            continue
        known[name] = value
        if isinstance(value, int | float):
            yield name, value
        elif _is_of_numbers(value):
            yield name, str(sorted(value) if isinstance(value, set | frozenset) else value)


def _limits(node: ast.AST) -> list[ast.keyword]:
    """The limits of a key, as pydantic has them."""
    fields = (it for it in ast.walk(node) if isinstance(it, ast.Call) and ast.unparse(it.func) == "Field")
    return [keyword for field in fields for keyword in field.keywords if keyword.arg not in ("description", "alias")]


def _defaults(node: ast.AST, inside: str) -> Iterator[tuple[str, ast.expr]]:
    """The names that are given a value in a module or a class, and the parameters of functions."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    pairs = zip(target.elts, value.elts, strict=False)
                    yield from ((f"{inside}{ast.unparse(one)}", it) for one, it in pairs)
                else:
                    yield f"{inside}{ast.unparse(target)}", value
            case ast.FunctionDef(name=name, args=args) | ast.AsyncFunctionDef(name=name, args=args):
                every = args.posonlyargs + args.args
                last = every[len(every) - len(args.defaults) :]
                for one, it in (
                    *zip(last, args.defaults, strict=False),
                    *zip(args.kwonlyargs, args.kw_defaults, strict=True),
                ):
                    if it is not None:
                        yield f"{inside}{name}.{one.arg}", it
            case ast.ClassDef(name=name):
                yield from _defaults(child, f"{inside}{name}.")


def _is_of_numbers(value: object) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(map(_is_of_numbers, value.values()))
    if isinstance(value, tuple | list | set | frozenset):
        return bool(value) and all(map(_is_of_numbers, value))
    return isinstance(value, int | float | range)


if __name__ == "__main__":
    for file in TESTS.glob(f"*/{NAME}"):
        file.write_text(json.dumps(bounds_of(file.parent.name), indent=0) + "\n")
