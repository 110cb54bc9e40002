"""What docs/recipes.md shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convsmith.recipe.load import load_recipe
from tests.recipe.examples import error_of

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CHILD, WRONG = (block for block in BLOCKS if block.startswith("extends: "))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("mine.yaml")


def test_the_file_that_extends_loads(mine: Path) -> None:
    mine.write_text(CHILD, encoding="utf-8")
    assert load_recipe(mine).schedule.epochs == 30


def test_the_wrong_file_gives_the_error_shown(mine: Path) -> None:
    mine.write_text(WRONG, encoding="utf-8")
    assert f"error: {error_of(mine, ['data.on_error=skp'])}\n" in BLOCKS


def test_the_overrides_shown_are_right() -> None:
    [line] = [line for line in "".join(BLOCKS).splitlines() if " ema=null" in line]
    name, *words = line.removeprefix("$ convsmith train ").replace(" --data photos/", "").split()
    assert load_recipe(name, words).ema is None
