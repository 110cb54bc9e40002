"""The words of code, recipes and docs are plain English: a few habits that a stranger stumbles over are kept out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

AVOIDED = {
    "a sentence that begins with Of": re.compile(
        r'(?:^|[.:!?]["\')]?\s+|"""|# |^\s*- |\| )Of (?!course)', re.MULTILINE
    ),
    "a docstring that begins with What": re.compile(r'"""What\b'),
    "shall": re.compile(r"\bshall\b"),
    "whom": re.compile(r"\bwhom\b"),
    "nobody": re.compile(r"\b[Nn]obody\b"),
    "is told": re.compile(r"\b(?:is|are|was|be|being) told\b"),
    "is no": re.compile(r"(?<!here )\b(?:is|are|was|were) no (?!longer|more|better)"),
}
TEXTS = [
    path
    for pattern in (
        "src/convsmith/**/*.py",
        "src/convsmith/**/*.yaml",
        "benchmarks/*.py",
        "docs/**/*.md",
        "tools/*.py",
        "README.md",
        "CONTRIBUTING.md",
    )
    for path in sorted(REPOSITORY.glob(pattern))
]


def found(text: str, habit: str) -> list[str]:
    lines = text.splitlines()
    return [lines[text.count("\n", 0, hit.end() - 1)].strip() for hit in AVOIDED[habit].finditer(text)]


@pytest.mark.parametrize("habit", AVOIDED)
def test_no_text_has_the_habit(habit: str) -> None:
    hits = {str(path.relative_to(REPOSITORY)): found(path.read_text("utf-8"), habit) for path in TEXTS}
    assert {name: lines for name, lines in hits.items() if lines} == {}


@pytest.mark.parametrize(
    ("habit", "sentence"),
    [
        ("a sentence that begins with Of", '"""Of the whole tensor."""'),
        ("a sentence that begins with Of", "It is read once. Of two files the later counts."),
        ("a docstring that begins with What", '"""What one step left."""'),
        ("shall", "it shall leave nothing"),
        ("whom", "whom an image is mixed with"),
        ("nobody", "so that nobody waits"),
        ("is told", "progress: is told what is done"),
        ("is no", "a mask that is no PNG"),
    ],
)
def test_the_habit_is_found(habit: str, sentence: str) -> None:
    assert found(sentence, habit) == [sentence]


@pytest.mark.parametrize("sentence", ["there is no such file", "it is no longer finite", "Of course it is"])
def test_good_english_is_left_alone(sentence: str) -> None:
    assert [habit for habit in AVOIDED if found(sentence, habit)] == []


def test_all_texts_are_read() -> None:
    assert {Path("README.md"), Path("docs/training.md"), Path("src/convsmith/errors.py")} <= {
        path.relative_to(REPOSITORY) for path in TEXTS
    }
