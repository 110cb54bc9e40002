"""Pages that promise it: every block runs, and prints what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docs.blocks import RUNS, Command, commands, fits, run, shell

PAGES = [page for page in sorted((REPOSITORY / "docs").rglob("*.md")) if RUNS in page.read_text("utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs_and_prints_what_is_shown(page: Path, tmp_path: Path) -> None:
    with shell(tmp_path) as bash:
        for command in commands(page):
            status, printed = run(bash, command)
            assert status == 0, command.text
            assert not command.shown or fits(command.shown, printed), f"{command.text}\n{printed}"


def test_every_tutorial_promises_that_its_blocks_run() -> None:
    tutorials = [page for page in (REPOSITORY / "docs/tutorials").glob("*.md") if page.name != "index.md"]
    assert tutorials
    assert set(tutorials) <= set(PAGES)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a ... c", "a b c", True),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a", "a b", False),
        ("1.5", "125", False),
    ],
)
def test_dots_stand_for_anything(shown: str, printed: str, same: bool) -> None:
    assert fits(shown, printed) == same


def test_a_page_is_read_as_its_commands_and_what_they_print(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```console\n$ echo a \\\n    b\na b\n$ true\n```\n```yaml\n$ no\n```\n")
    assert commands(tmp_path / "page.md") == [Command("echo a \\\n    b", "a b\n"), Command("true")]


def test_a_command_that_fails_or_prints_is_seen(tmp_path: Path) -> None:
    with shell(tmp_path) as bash:
        assert run(bash, Command("cd /; echo 1; false")) == (1, "1\n")
        assert run(bash, Command("pwd")) == (0, "/\n")
