"""How many small faults the tests notice: one token of the source is changed, and the tests of its room run.

    .venv/bin/python benchmarks/mutants.py [--count 100] [--seed 0] [--only src/convsmith/data] [--timeout 300]

A change turns a comparison, an operator, a constant or a condition. The quick tests of the changed file's room run
until one fails which passes without the change; those that import the changed module come first. Each survivor
is printed with its line: either a test is missing, or the change makes no difference that a user could see.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "convsmith"
COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"), ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}  # fmt: skip
OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
}  # fmt: skip


HUNG = "hung"
CRASH = "the end of pytest itself"


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
    """All nodes that run: no annotation, no `strict=True`, which holds where nothing is wrong, no start of a script."""
    yield node
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return
    if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
        return
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _expressions(child)


def tests_of(file: Path) -> list[list[Path]]:
    """The test files of a file's room: those that import it, those that import what imports it, and the others.

    Those that import few modules come first, since they are the most specific.
    """
    room, tests = file.relative_to(SOURCE).parts[0], ROOT / "tests"
    own = (tests / room).rglob("test_*.py") if (tests / room).is_dir() else tests.glob("test_*.py")
    texts = {test: test.read_text("utf-8") for test in sorted(own)}
    left = sorted(texts, key=lambda test: len(set(re.findall(r"convsmith\.[\w.]+", texts[test]))))
    direct = _imports(file)
    users = [it for it in SOURCE.rglob("*.py") if direct.search(it.read_text("utf-8"))]
    stages = []
    for patterns in ([direct], list(map(_imports, users))):
        stages.append([test for test in left if any(pattern.search(texts[test]) for pattern in patterns)])
        left = [test for test in left if test not in stages[-1]]
    return [*stages, left]


def _imports(file: Path) -> re.Pattern[str]:
    """A pattern of lines that import the module of a file by name."""
    module = ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts)
    package, _, name = module.rpartition(".")
    return re.compile(rf"^\s*(from {module} import|import {module}\b|from {package} import .*\b{name}\b)", re.MULTILINE)


@dataclass
class Trial:
    """A copy of the source in which one file at a time is changed.

    Attributes:
        folder: of the copy.
        timeout: seconds of the tests of one change.
        sound: tests that pass without a change.
        unsound: tests that fail without one, which prove nothing.
    """

    folder: Path
    timeout: float
    sound: set[str] = field(default_factory=set)
    unsound: set[str] = field(default_factory=set)
    _tried: int = 0

    def __post_init__(self) -> None:
        shutil.copytree(ROOT / "src", self.folder, ignore=shutil.ignore_patterns("__pycache__"))

    def outcome(self, mutant: Mutant) -> str:
        """`caught` by what, `hung` (until the time was up), or `SURVIVED`."""
        end = time.monotonic() + self.timeout
        for tests in filter(None, tests_of(mutant.file)):
            while failed := self._fails_with(mutant, tests, end - time.monotonic()):
                if failed == HUNG or self._is_sound(failed):
                    return failed if failed == HUNG else f"caught by {failed}"
        return "SURVIVED"

    def _fails_with(self, mutant: Mutant, tests: list[Path], timeout: float) -> str | None:
        copy = self.folder / mutant.file.relative_to(ROOT / "src")
        copy.write_bytes(mutant.source())
        self._tried += 1
        os.utime(copy, (self._tried, self._tried))  # unlike any before, so that Python compiles it anew
        try:
            return self._fails(list(map(str, tests)), timeout)
        finally:
            shutil.copy2(mutant.file, copy)

    def _is_sound(self, test: str) -> bool:
        if test not in self.sound | {CRASH}:
            how = [] if "::" in test else ["--collect-only"]  # a whole file where not even its imports worked
            (self.unsound if self._fails([*how, test], self.timeout) else self.sound).add(test)
        return test not in self.unsound

    def _fails(self, tests: list[str], timeout: float) -> str | None:
        """The first test that fails, if one does."""
        options = ["-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", "--tb=no"]
        arguments = [*options, *(f"--deselect={test}" for test in self.unsound), *tests]
        with tempfile.TemporaryFile("w+") as said:
            # a process that has loaded torch and the like already, which takes longer than most tests
            process = multiprocessing.get_context("fork").Process(target=_test, args=(self.folder, arguments, said))
            process.start()
            process.join(max(1.0, timeout))
            ended = process.exitcode is not None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.ident or 0, signal.SIGKILL)  # with what the tests started
            process.join()
            said.seek(0)
            found = re.search(r"^(?:FAILED|ERROR) (tests/\S+?\.py(?:::.*?)?)(?: - .*)?$", said.read(), re.MULTILINE)
        if not ended:
            return HUNG
        if found is None and process.exitcode not in (0, 5):  # 5: no test is left that is quick
            return CRASH
        return found[1] if found else None


def _test(source: Path, arguments: list[str], said: IO[str]) -> None:
    """Run pytest with convsmith from that folder, in a process group of its own."""
    os.setsid()
    for stream in (1, 2):
        os.dup2(said.fileno(), stream)
    os.environ |= {"PYTHONPATH": str(source), "OMP_WAIT_POLICY": "passive"}
    sys.path[:0] = [str(source), str(ROOT)]
    os.chdir(ROOT)
    sys.exit(pytest.main(arguments))


def main() -> None:
    """Try a random sample of changes and print those that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=Path, default=SOURCE, help="a folder or a file of the source")
    parser.add_argument("--timeout", type=float, default=300, help="seconds of the tests of one change")
    args = parser.parse_args()
    only = args.only.resolve()
    files = [only] if only.is_file() else sorted(only.rglob("*.py"))
    found = [mutant for file in files for mutant in mutants(file)]
    chosen = random.Random(args.seed).sample(found, min(args.count, len(found)))
    for name in ("torch", "onnx", "onnxruntime", "sklearn.datasets", "hypothesis", "PIL.Image", "pydantic"):
        importlib.import_module(name)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder) / "src", args.timeout)
        for number, mutant in enumerate(chosen, start=1):
            began = time.monotonic()
            outcomes.append(trial.outcome(mutant))
            print(f"{number}/{len(chosen)} {outcomes[-1]} ({time.monotonic() - began:.0f} s) {mutant}", flush=True)
    caught, hung = (sum(it.startswith(word) for it in outcomes) for word in ("caught", HUNG))
    print(f"\nof {len(chosen)} changes {caught} caught and {hung} hung, of {len(found)} possible ones")


if __name__ == "__main__":
    main()
