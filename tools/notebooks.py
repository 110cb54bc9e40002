"""Writes each tutorial as a Jupyter notebook beside its page: the same words, a cell for each block that runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"
PAGES = sorted(page for page in TUTORIALS.glob("*.md") if page.name != "index.md")

_BLOCK = re.compile(
    r"^```console\n(?P<commands>.*?)^```$|^```python\n(?P<python>.*?)^```$(?:\n+```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_COMMENT = re.compile(r"<!--.*?-->\n*", re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: [^>]*-->\s*\Z")
_COMMAND = re.compile(r"^\$ (?:.*\\\n)*.*\n", re.MULTILINE)  # with the lines that a backslash goes on in
_SHELL = "%%bash -e\n"
_FIRST = "# plain lines in place of the colours and bars of a terminal\n%env FORCE_COLOR="


def notebook(page: str) -> dict[str, Any]:
    """The notebook of a page in Markdown: what the page shows of a command's output is the output of its cell."""
    cells, end = [_cell(_FIRST, "")], 0
    for block in _BLOCK.finditer(page):
        if _NOT_RUN.search(page, end, block.start()):
            continue  # it stays among the words
        cells += _words(page[end : block.start()])
        commands, python, printed = block.groups()
        cells.append(_console(commands) if python is None else _cell(python, printed or ""))
        end = block.end()
    cells += _words(page[end:])
    return {
        "cells": [{"id": str(number), **cell} for number, cell in enumerate(cells)],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def text_of(page: Path) -> str:
    """The file of a page's notebook."""
    return json.dumps(notebook(page.read_text("utf-8")), indent=1, ensure_ascii=False) + "\n"


def _words(text: str) -> list[dict[str, Any]]:
    words = _COMMENT.sub("", text).strip()
    return [{"cell_type": "markdown", "metadata": {}, "source": words.splitlines(keepends=True)}] if words else []


def _cell(code: str, shown: str) -> dict[str, Any]:
    outputs = [{"name": "stdout", "output_type": "stream", "text": shown.splitlines(keepends=True)}] if shown else []
    source = code.strip().splitlines(keepends=True)
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": outputs, "source": source}


def _console(block: str) -> dict[str, Any]:
    commands = [command.removeprefix("$ ") for command in _COMMAND.findall(block)]
    return _cell(_SHELL + "".join(commands), _COMMAND.sub("", block))


if __name__ == "__main__":
    for page in PAGES:
        page.with_suffix(".ipynb").write_text(text_of(page), "utf-8", newline="\n")
