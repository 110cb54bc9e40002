"""Every command that a page shows is one of convsmith's, with options that it has: also where tests cannot run it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from convsmith.cli.group import Listing
from convsmith.cli.main import app
from tests.conftest import REPOSITORY
from tests.docs.blocks import PAGES

ROOT: Any = typer.main.get_command(app)
_BLOCK = re.compile(r"^```(?:console|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|\$ |[;|&] |do )convsmith ([^\n;&>]*)", re.MULTILINE)


def shown(text: str) -> Iterator[str]:
    """The words behind `convsmith` in the blocks of a page, up to the next command of a line."""
    for block in _BLOCK.findall(text.replace("\\\n", " ")):
        for words in _COMMAND.findall(block):
            yield re.split(r" \| |(?<!\S)#", words)[0]


def command_of(words: str) -> tuple[str, set[str]]:
    """The name of a command, and the options that it does not have."""
    command, names = ROOT, []
    for word in words.split():
        if not hasattr(command, "commands") or word not in command.commands:
            break
        names.append(word)
        command = command.commands[word]
    if isinstance(command, Listing):
        command = command.commands["list"]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return " ".join(names), set(re.findall(r"(?<![\w-])--[a-z][\w-]*", words)) - known - {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_of_a_page_is_there_with_its_options(page: Path) -> None:
    for words in shown(page.read_text("utf-8")):
        name, unknown = command_of(words)
        assert name or words.startswith("COMMAND"), words
        assert unknown == set(), words


def test_a_command_and_an_option_that_are_not_there_are_found() -> None:
    console = "```console\n$ a | convsmith train x --out y \\\n    --data z --nothing | jq --slurp\n```\n"
    text = f"{console}```text\nconvsmith trein\n```\n"
    assert [command_of(words) for words in shown(text)] == [("train", {"--nothing"}), ("", set())]
