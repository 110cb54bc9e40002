"""What is said to be at risk is, and nothing else."""

from __future__ import annotations

import pytest

from tests.faults.order import at_risk

WHOLE = ("create /r/new", "write /r/new 1", "flush /r/new 1", "rename /r/file /r/new", "flush /r 9")
FOLDER = (
    "create /r/new",
    "create /r/new/.part",
    "write /r/new/.part 1",  # renamed unseen
    "flush /r/new/a 1",
    "flush /r/new 8",
    "rename /r/it /r/new",
    "flush /r 9",
)


def notes(*lines: str) -> str:
    return "\n".join("\t".join([*line.split(), ""][:3]) for line in lines)


@pytest.mark.parametrize("lines", [WHOLE, FOLDER, ("create /r/log", "write /r/log 1")], ids=["file", "folder", "log"])
def test_what_is_flushed_before_it_is_renamed_is_safe(lines: tuple[str, ...]) -> None:
    assert at_risk(notes(*lines), ["log"]) == []


@pytest.mark.parametrize("without", ["flush /r/new 1", "flush /r 9"])
def test_a_file_that_is_not_flushed_is_at_risk(without: str) -> None:
    assert len(at_risk(notes(*(it for it in WHOLE if it != without)), ["log"])) == 1


@pytest.mark.parametrize("without", ["flush /r/new/a 1", "flush /r/new 8", "flush /r 9"])
def test_a_folder_of_which_something_is_not_flushed_is_at_risk(without: str) -> None:
    assert len(at_risk(notes(*(it for it in FOLDER if it != without)), ["log"])) == 1


def test_what_is_written_after_it_was_flushed_is_at_risk() -> None:
    lines = ["write /r/new 1", "flush /r/new 1", "write /r/new 1", "rename /r/file /r/new", "flush /r 9"]
    assert at_risk(notes(*lines), ["log"]) == ["/r/new was renamed to /r/file unflushed"]


def test_what_is_written_at_its_place_is_at_risk() -> None:
    lines = ["create /r/file", "write /r/file 1", "flush /r/file 1"]
    assert at_risk(notes(*lines), ["log"]) == ["/r/file was written at its place"]
