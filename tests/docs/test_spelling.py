"""Docs and code are spelled right, by codespell, which knows common mistakes and no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

TEXTS = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs",
    "src",
    "tests/docs",
    "tools",
    "benchmarks",
)


def misspelt(*texts: str) -> str:
    """The lines of codespell, which reads its settings from pyproject.toml."""
    words = [sys.executable, "-m", "codespell_lib", *texts]
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout


def test_all_words_are_spelled_right() -> None:
    assert misspelt(*TEXTS) == ""


def test_a_mistake_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("It is reci" + "eved.\n")
    assert "received" in misspelt(str(tmp_path))
