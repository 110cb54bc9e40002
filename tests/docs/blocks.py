"""Blocks of code in a page of the docs: what a page asks its reader to run, and what it shows as the output.

Three comments of HTML, which no reader sees, stand before a block:

    <!-- not run: needs Docker -->              tests leave the next block out, for this reason
    <!-- shortened in tests: OLD -> NEW -->     tests read the next block with NEW in place of OLD
    <!-- other figures in tests -->             numbers of the output of the next block stand for any numbers

and a fourth one anywhere: `<!-- before, in tests: COMMAND -->` is a command that the tests give at that place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

RUNS = "<!-- every block of this page runs, from top to bottom, in an empty folder -->"
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
_PARTS = re.compile(
    r"^<!-- (?P<marker>not run|shortened in tests|other figures in tests|before, in tests)(?:: (?P<words>.*?))? -->$"
    r"|^```(?P<kind>.*?)\n(?P<body>.*?)^```$(?:\n+```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = re.compile(r"\d(?:[\d.,]*\d)?(?:e-\d+)?")


@dataclass(frozen=True)
class Block:
    """Code of a page as tests run it, or the reason for which they do not."""

    line: int
    kind: str
    text: str
    printed: str = ""  # the block of text that follows it
    not_run: str = ""
    other_figures: bool = False


@dataclass(frozen=True)
class Command:
    """A command of a shell, or Python, and the output that the page shows; without one any will do."""

    text: str
    shown: str = ""
    is_python: bool = False
    other_figures: bool = False


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page that hold commands or Python, in order."""
    text = page.read_text("utf-8")
    said: dict[str, list[str]] = {}
    for part in _PARTS.finditer(text):
        line = text.count("\n", 0, part.start()) + 1
        if part["marker"] == "before, in tests":
            yield Block(line, "console", f"$ {part['words']}\n")
        elif part["marker"]:
            said.setdefault(part["marker"], []).append(part["words"] or "")
        else:
            if part["kind"] in ("console", "python"):
                body = part["body"]
                for words in said.get("shortened in tests", ()):
                    old, new = words.split(" -> ")
                    assert old in body, f"{page.name}:{line}: {old} is not in the block"
                    body = body.replace(old, new)
                reason = " ".join(said.get("not run", ()))
                yield Block(line, part["kind"], body, part["printed"] or "", reason, "other figures in tests" in said)
            elif said:
                raise AssertionError(
                    f"{page.name}:{line}: {said} stands before a block that is neither commands nor Python"
                )
            said = {}


def commands(page: Path) -> Iterator[Command]:
    """All that a page asks its reader to run, but for the blocks that say why tests do not."""
    for block in blocks(page):
        if block.not_run:
            continue
        if block.kind == "python":
            yield Command(block.text.strip(), block.printed, is_python=True, other_figures=block.other_figures)
            continue
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            lines = part.splitlines(keepends=True)
            last = next(i for i, line in enumerate(lines) if not line.rstrip().endswith("\\"))
            shown = "".join(lines[last + 1 :])
            yield Command("".join(lines[: last + 1]).rstrip(), shown, other_figures=block.other_figures)


def fits(command: Command, printed: str) -> bool:
    """Whether what is printed is what the page shows, in which `...` stands for anything."""
    kind = _any_figures if command.other_figures else re.escape
    # no page shows the spaces that end a table's row, so `...` at its end may stand for nothing
    seen = re.sub(" +$", "", printed.strip(), flags=re.MULTILINE)
    shown = re.sub(r" +\.\.\.$", "...", command.shown.strip(), flags=re.MULTILINE)
    return re.fullmatch(".*".join(map(kind, shown.split("..."))), seen, re.DOTALL) is not None


def _any_figures(text: str) -> str:
    """A pattern of a text with any numbers in the places of its own, and as many spaces as align them."""
    return _NUMBER.pattern.join(re.sub(r"(\\ )+", " +", re.escape(part)) for part in _NUMBER.split(text))
