"""The pictures of the tutorials: each page has some, they are small, and a tool takes them again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.docs.tools import load_tool

TUTORIALS = REPOSITORY / "docs/tutorials"
PAGES = [page for page in sorted(TUTORIALS.glob("*.md")) if page.name != "index.md"]
PICTURES = sorted((TUTORIALS / "pictures").iterdir())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_tutorial_shows_pictures_with_words_for_those_who_do_not_see_them(page: Path) -> None:
    shown = re.findall(r"^!\[(.*)\]\((.*)\)$", page.read_text("utf-8"), re.MULTILINE)
    assert shown
    assert all(len(words) > 20 and (TUTORIALS / name).is_file() for words, name in shown)


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_small_and_shown(path: Path) -> None:
    assert path.stat().st_size < 150_000
    with Image.open(path) as picture:
        assert picture.width <= 1000
    assert any(f"](pictures/{path.name})" in page.read_text("utf-8") for page in PAGES)


def test_every_picture_is_taken_by_the_tool() -> None:
    tool = load_tool("pictures")
    assert set(tool.TAKEN) == {page.stem for page in PAGES}
    assert {name for taken in tool.TAKEN.values() for name in taken} == {path.stem for path in PICTURES}
