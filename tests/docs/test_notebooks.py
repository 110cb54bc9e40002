"""The tutorials as notebooks: what the tool makes of their pages, run in a real kernel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import REPOSITORY
from tests.docs.reader import PATIENCE
from tests.docs.tools import load_tool

PAGES = [page for page in sorted((REPOSITORY / "docs/tutorials").glob("*.md")) if page.name != "index.md"]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool("notebooks")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_is_what_the_tool_makes_of_its_page(page: Path, tool: ModuleType) -> None:
    written = page.with_suffix(".ipynb").read_text("utf-8")
    assert written == tool.text_of(page), "give `make notebooks`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_line_of_a_page_is_in_its_notebook(page: Path, tool: ModuleType) -> None:
    cells = tool.notebook(page.read_text("utf-8"))["cells"]
    kept = {line.rstrip().removeprefix("$ ") for cell in cells for line in cell["source"]}
    kept |= {line.rstrip() for cell in cells for output in cell.get("outputs", ()) for line in output["text"]}
    lines = re.sub("<!--.*?-->|^```.*|^[$] ", "", page.read_text("utf-8"), flags=re.MULTILINE).splitlines()
    assert {line.rstrip() for line in lines} - kept <= {""}


def test_words_and_blocks_become_cells_with_the_output_that_is_shown(tool: ModuleType) -> None:
    page = "# A\n\n<!-- runs -->\n\n```console\n$ echo a \\\n    b\na b\n$ true\n```\n\nB\n\n```python\nc = 1\n```\n"
    _, first, shell, second, python = tool.notebook(page)["cells"]
    assert (first["cell_type"], first["source"]) == ("markdown", ["# A"])
    assert "".join(shell["source"]) == "%%bash -e\necho a \\\n    b\ntrue"
    assert shell["outputs"] == [{"name": "stdout", "output_type": "stream", "text": ["a b\n"]}]
    assert second["source"] == ["B"]
    assert (python["source"], python["outputs"]) == (["c = 1"], [])


def test_blocks_that_do_not_run_stay_words(tool: ModuleType) -> None:
    _, cell = tool.notebook("```yaml\na: 1\n```\n")["cells"]
    assert cell["cell_type"] == "markdown"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_to_install_before_its_first_command(page: Path) -> None:
    _, kind, first = page.read_text("utf-8").split("```", 2)[1].partition("console\n")
    assert kind
    assert first.startswith("$ pip install '.[train,serve")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_cell_of_a_notebook_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "src"))
    for command in said_to_tests(page, "before, in tests"):
        request.getfixturevalue("test_data")  # skips where there is none
        subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    read = nbformat.read(page.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(read)
    cells = [cell for cell in read.cells if cell.cell_type == "code"]
    for words in said_to_tests(page, "shortened in tests"):
        (cell,) = (cell for cell in cells if words.split(" -> ")[0] in cell.source)
        cell.source = cell.source.replace(*words.split(" -> "))
    nbclient.NotebookClient(read, timeout=PATIENCE, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert all(cell.execution_count for cell in cells)


def said_to_tests(page: Path, what: str) -> list[str]:
    """The words of the comments of that kind in a page."""
    return re.findall(f"^<!-- {what}: (.*) -->$", page.read_text("utf-8"), re.MULTILINE)
