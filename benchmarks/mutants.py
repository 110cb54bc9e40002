"""How many small faults the tests notice: one token of the source is changed, and the tests that import the file run.

    .venv/bin/python benchmarks/mutants.py [--count 100] [--seed 0] [--only src/convsmith/data] [--timeout 600]

A change turns a comparison, an operator, a constant or a condition. It is caught if a quick test fails among those that
import the changed module by name; where none does, all tests of its room run. Each survivor is printed with its line:
either a test is missing, or the change makes no difference that a user could see.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"), ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}  # fmt: skip
OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: bytes `start` to `stop` of a file become `text`."""

    file: Path
    start: int
    stop: int
    text: str

    def source(self) -> bytes:
        """The file's bytes with the change."""
        source = self.file.read_bytes()
        return source[: self.start] + self.text.encode() + source[self.stop :]

    def __str__(self) -> str:
        source = self.file.read_bytes()
        line = source.count(b"\n", 0, self.start)
        before, after = source.splitlines()[line].decode().strip(), self.source().splitlines()[line].decode().strip()
        return f"{self.file.relative_to(ROOT)}:{line + 1}\n    {before}\n    {after}"


def mutants(file: Path) -> Iterator[Mutant]:
    """All changes of a file."""
    source = file.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def span(node: ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    def between(left: ast.expr, right: ast.expr, old: str, new: str) -> Iterator[Mutant]:
        first, last = span(left)[1], span(right)[0]
        pattern = r"\s+".join(map(re.escape, old.split())).encode()
        if found := re.search(pattern, source[first:last]):
            yield Mutant(file, first + found.start(), first + found.end(), new)

    for node in _expressions(ast.parse(source)):
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                yield from between(left, right, *COMPARISONS[type(op)])
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                yield from between(left, right, *OPERATORS[type(op)])
            case ast.BoolOp(op=op, values=[left, right, *_]):
                old, new = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
                yield from between(left, right, old, new)
            case ast.Constant(value=bool(value)):
                yield Mutant(file, *span(node), str(not value))
            case ast.Constant(value=int(value)):
                yield Mutant(file, *span(node), str(value + 1))
            case ast.UnaryOp(op=ast.Not()):
                yield Mutant(file, span(node)[0], span(node)[0] + len("not"), "")
            case ast.IfExp(test=test):
                yield Mutant(file, *span(test), f"(not ({source[slice(*span(test))].decode()}))")


def _expressions(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run: not annotations, and not `strict=True`, which holds where nothing is wrong."""
    yield node
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _expressions(child)


def tests_of(file: Path) -> list[Path]:
    """The test files that import a module by name; where none does, those of its room."""
    module = ".".join(file.relative_to(ROOT / "src").with_suffix("").parts)
    package, _, name = module.rpartition(".")
    imported = re.compile(
        rf"^\s*(from {module} import|import {module}\b|from {package} import .*\b{name}\b)", re.MULTILINE
    )
    found = [test for test in sorted((ROOT / "tests").rglob("test_*.py")) if imported.search(test.read_text("utf-8"))]
    room = ROOT / "tests" / file.relative_to(ROOT / "src" / "convsmith").parts[0]
    return found or [room if room.is_dir() else ROOT / "tests"]


def is_caught(mutant: Mutant, timeout: float) -> bool:
    """Whether a quick test fails, or hangs, with the change."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        (source / mutant.file.relative_to(ROOT / "src")).write_bytes(mutant.source())
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider"]
        environment = {**os.environ, "PYTHONPATH": str(source), "OMP_WAIT_POLICY": "passive"}
        try:
            result = subprocess.run(
                [*command, *map(str, tests_of(mutant.file))],
                cwd=ROOT, env=environment, capture_output=True, timeout=timeout, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return True
        return result.returncode not in (0, 5)  # 5: no test is left that is quick


def main() -> None:
    """Try a random sample of changes and print those that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", type=Path, default=ROOT / "src" / "convsmith", help="a folder or a file of the source"
    )
    parser.add_argument("--timeout", type=float, default=600, help="seconds of the tests of one change")
    args = parser.parse_args()
    only = args.only.resolve()
    files = [only] if only.is_file() else sorted(only.rglob("*.py"))
    found = [mutant for file in files for mutant in mutants(file)]
    chosen = random.Random(args.seed).sample(found, min(args.count, len(found)))
    survivors = []
    for number, mutant in enumerate(chosen, start=1):
        caught = is_caught(mutant, args.timeout)
        print(f"{number}/{len(chosen)} {'caught' if caught else 'SURVIVED'} {mutant}", flush=True)
        if not caught:
            survivors.append(mutant)
    print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} changes caught, of {len(found)} possible ones")


if __name__ == "__main__":
    main()
