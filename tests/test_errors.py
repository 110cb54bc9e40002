"""Words of errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convsmith import errors
from convsmith.errors import ConvsmithError, did_you_mean, install_command, require_extra, upgrade_command

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("published", "install", "upgrade"),
    [
        (False, "pip install '.[serve]'", "git pull && pip install ."),
        (True, "pip install 'convsmith[serve]'", "pip install --upgrade 'convsmith>=1.2'"),
    ],
)
def test_one_constant_decides_what_installs_convsmith(
    monkeypatch: pytest.MonkeyPatch, published: bool, install: str, upgrade: str
) -> None:
    monkeypatch.setattr(errors, "PUBLISHED", published)
    assert (install_command("serve"), upgrade_command("1.2")) == (install, upgrade)
    assert install in require_extra("fastapi", "serve", "serving").fix


def test_the_docs_install_as_the_messages_do() -> None:
    from_index = re.compile(r"pip install (--upgrade )?['\"]?convsmith")
    pages = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md")]
    assert len(pages) > 10
    found = [page.name for page in pages if from_index.search(page.read_text())]
    assert bool(found) == errors.PUBLISHED, found


@pytest.mark.parametrize("word", ["adamW", "AdamW", "ADAMW"])
def test_capitals_do_not_make_another_word(word: str) -> None:
    assert did_you_mean(word, ["sgd", "adam", "adamw"]) == "; did you mean `adamw`?"


def test_in_python_options_are_arguments() -> None:
    error = ConvsmithError("x is taken", fix="Choose another with --out, or see `convsmith train --out x`.")
    assert str(error) == "x is taken\nChoose another with out=, or see `convsmith train --out x`."
    assert error.on_command_line == "x is taken\nChoose another with --out, or see `convsmith train --out x`."
