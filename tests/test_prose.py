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
    "a word that says that it is easy": re.compile(
        r"\b(?:[Ss]imply|[Ee]asily|[Oo]bviously|[Tt]rivially|[Bb]asically)\b"
    ),
    "a long word for a short one": re.compile(
        r"\b(?:utili[sz]\w+|leverag\w+|facilitat\w+|functionality|in order to|prior to|due to the fact)\b",
        re.IGNORECASE,
    ),
    "a word of contracts": re.compile(
        r"\b(?:[Hh]ereby|[Hh]erein|[Tt]hereof|[Hh]ence|[Tt]hus|[Uu]pon|[Ww]hilst|and/or)\b"
    ),
    "Latin": re.compile(r"\b(?:e\.g|i\.e|etc|viz)\."),
    "praise": re.compile(
        r"\b(?:[Ss]eamless\w*|[Bb]lazing\w*|[Cc]utting-edge|[Ss]tate-of-the-art|[Pp]owerful|[Pp]erformant)\b"
    ),
    "a link that is called here": re.compile(r"\[(?:[Cc]lick )?[Hh]ere\]\(|[Cc]lick here"),
    "a word twice": re.compile(r"\b(the|a|an|is|are|of|to|and|in|it|that) \1\b"),
}
READER = re.compile(r"\b[Tt]he (?:user|reader)s?\b(?!'s? (?:name|system))")  # of docs, in which the reader is "you"
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
        ("a word that says that it is easy", "simply call it"),
        ("a long word for a short one", "it is read in order to be checked"),
        ("a word of contracts", "upon which it ends"),
        ("Latin", "a file, e.g. a mask"),
        ("praise", "a powerful loader"),
        ("a link that is called here", "[here](data.md)"),
        ("a word twice", "as it is in the the file"),
    ],
)
def test_the_habit_is_found(habit: str, sentence: str) -> None:
    assert found(sentence, habit) == [sentence]


@pytest.mark.parametrize("sentence", ["there is no such file", "it is no longer finite", "Of course it is"])
def test_good_english_is_left_alone(sentence: str) -> None:
    assert [habit for habit in AVOIDED if found(sentence, habit)] == []


@pytest.mark.parametrize("path", [it for it in TEXTS if it.suffix == ".md"], ids=lambda it: it.name)
def test_the_reader_of_docs_is_you(path: Path) -> None:
    assert READER.findall(path.read_text("utf-8")) == []


def test_all_texts_are_read() -> None:
    assert {Path("README.md"), Path("docs/training.md"), Path("src/convsmith/errors.py")} <= {
        path.relative_to(REPOSITORY) for path in TEXTS
    }
