"""How many small faults the tests notice: one token of the source is changed, and the tests of its room run.

    .venv/bin/python benchmarks/mutants.py [--count 100] [--seed 0] [--only src/convsmith/data] [--timeout 300]
    .venv/bin/python benchmarks/mutants.py --write-map lines.json  # once, then --map lines.json: many times faster

A change turns a comparison, an operator, a constant or a condition. The quick tests of the changed file's room run
until one fails which passes without the change; first those that run the changed line, as the map says, then those that
import the changed module. Each survivor is printed with its line: either a test is missing, or the change makes no
difference that a user could see. The map needs the package `coverage`.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
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

    @property
    def line(self) -> int:
        """The number of the line in which it begins."""
        return self.file.read_bytes().count(b"\n", 0, self.start) + 1

    def __str__(self) -> str:
        source, line = self.file.read_bytes(), self.line - 1
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


class LinesByTest:
    """A plugin of pytest that notes which test runs which line, in this process."""

    def __init__(self) -> None:
        from coverage import Coverage

        self._coverage = Coverage(data_file=None, include=[f"{SOURCE}/*"])
        self._coverage.start()

    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Note the lines of this test's own call."""
        self._coverage.switch_context(item.nodeid)

    def pytest_runtest_teardown(self) -> None:
        """Note no lines between tests."""
        self._coverage.switch_context("")

    def write(self, file: Path) -> None:
        """Write {file of the source: {line: tests}}, files and tests by their paths in the project."""
        self._coverage.stop()
        data, found = self._coverage.get_data(), dict[str, dict[int, list[str]]]()
        for measured in data.measured_files():
            lines = {line: sorted(filter(None, tests)) for line, tests in data.contexts_by_lineno(measured).items()}
            found[str(Path(measured).relative_to(ROOT))] = {line: tests for line, tests in lines.items() if tests}
        file.write_text(json.dumps(found))


def write_map(file: Path) -> None:
    """Run all quick tests, and write which of them run which line."""
    plugin = LinesByTest()
    pytest.main(["-q", "-m", "not slow", "-p", "no:cacheprovider", "--tb=no", str(ROOT / "tests")], [plugin])
    plugin.write(file)


def _of_room(room: str) -> tuple[str, ...]:
    """How the names of a room's tests begin; those of the ground floor lie in no folder."""
    return (f"tests/{room}/",) if (ROOT / "tests" / room).is_dir() else ("tests/test_",)


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
        timeout: seconds of a processor that the tests of one change may take; four times as many on the clock.
        lines: which tests run which line, as `write_map` writes it.
        sound: tests that pass without a change.
        unsound: tests that fail without one, which prove nothing.
    """

    folder: Path
    timeout: float
    lines: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    sound: set[str] = field(default_factory=set)
    unsound: set[str] = field(default_factory=set)
    _tried: int = 0
    _breadth: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._breadth = Counter(test for file in self.lines.values() for tests in file.values() for test in tests)
        shutil.copytree(ROOT / "src", self.folder, ignore=shutil.ignore_patterns("__pycache__"))

    def outcome(self, mutant: Mutant) -> str:
        """`caught` by what, `hung` (until the time was up), or `SURVIVED`."""
        began = _seconds_of_children()
        suites: list[Sequence[str | Path]] = [self._run_it(mutant), *tests_of(mutant.file)]
        for tests in filter(None, suites):
            while failed := self._fails_with(mutant, tests, self.timeout - (_seconds_of_children() - began)):
                if failed == HUNG or self._is_sound(failed):
                    return failed if failed == HUNG else f"caught by {failed}"
        return "SURVIVED"

    def _run_it(self, mutant: Mutant) -> list[str]:
        """A test of each function that runs the changed line, of the room's; those that run few lines come first."""
        room, file = mutant.file.relative_to(SOURCE).parts[0], str(mutant.file.relative_to(ROOT))
        found = [it for it in self.lines.get(file, {}).get(str(mutant.line), []) if it.startswith(_of_room(room))]
        functions = {test.partition("[")[0]: test for test in found}
        return sorted(functions.values(), key=self._breadth.__getitem__)

    def _fails_with(self, mutant: Mutant, tests: Sequence[str | Path], timeout: float) -> str | None:
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
            process = multiprocessing.get_context("fork").Process(
                target=_test, args=(self.folder, arguments, said, timeout)
            )
            process.start()
            process.join(4 * timeout)
            ended = process.exitcode is not None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.ident or 0, signal.SIGKILL)  # with what the tests started
            process.join()
            said.seek(0)
            found = re.search(r"^(?:FAILED|ERROR) (tests/\S+?\.py(?:::.*?)?)(?: - .*)?$", said.read(), re.MULTILINE)
        if not ended or process.exitcode == -signal.SIGXCPU:
            return HUNG
        if found is None and process.exitcode not in (0, 5):  # 5: no test is left that is quick
            return CRASH
        return found[1] if found else None


def _seconds_of_children() -> float:
    """The seconds of a processor that the tests took until now, and the processes that they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _test(source: Path, arguments: list[str], said: IO[str], timeout: float) -> None:
    """Run pytest with convsmith from that folder, in a process group of its own, for so many seconds of a processor."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (max(1, round(timeout)), resource.RLIM_INFINITY))
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
    parser.add_argument("--timeout", type=float, default=300, help="seconds of a processor for the tests of one change")
    parser.add_argument("--write-map", type=Path, help="where to write which tests run which line, and no more")
    parser.add_argument("--map", type=Path, help="what that has written")
    args = parser.parse_args()
    if args.write_map:
        write_map(args.write_map)
        return
    only = args.only.resolve()
    files = [only] if only.is_file() else sorted(only.rglob("*.py"))
    found = [mutant for file in files for mutant in mutants(file)]
    chosen = random.Random(args.seed).sample(found, min(args.count, len(found)))
    for name in ("torch", "onnx", "onnxruntime", "sklearn.datasets", "hypothesis", "PIL.Image", "pydantic"):
        importlib.import_module(name)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        lines = json.loads(args.map.read_text()) if args.map else {}
        trial = Trial(Path(folder) / "src", args.timeout, lines)
        for number, mutant in enumerate(chosen, start=1):
            began = time.monotonic()
            outcomes.append(trial.outcome(mutant))
            print(f"{number}/{len(chosen)} {outcomes[-1]} ({time.monotonic() - began:.0f} s) {mutant}", flush=True)
    caught, hung = (sum(it.startswith(word) for it in outcomes) for word in ("caught", HUNG))
    print(f"\nof {len(chosen)} changes {caught} caught and {hung} hung, of {len(found)} possible ones")


if __name__ == "__main__":
    main()
