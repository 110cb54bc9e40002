"""What is said to be at risk is, and nothing else."""

from __future__ import annotations

import pytest

from tests.faults.order import at_risk

WHOLE = ("create /r/new", "write /r/new", "flush /r/new", "rename /r/file /r/new", "flush /r")
FOLDER = (
    "create /r/new",
    "create /r/new/a",
    "write /r/new/a",
    "flush /r/new/a",
    "flush /r/new",
    "rename /r/it /r/new",
    "flush /r",
)


def notes(*lines: str) -> str:
    return "\n".join("\t".join([*line.split(), ""][:3]) for line in lines)


@pytest.mark.parametrize("lines", [WHOLE, FOLDER, ("create /r/log", "write /r/log")], ids=["file", "folder", "log"])
def test_what_is_flushed_before_it_is_renamed_is_safe(lines: tuple[str, ...]) -> None:
    assert at_risk(notes(*lines)) == []


@pytest.mark.parametrize("without", ["flush /r/new", "flush /r"])
def test_a_file_that_is_not_flushed_is_at_risk(without: str) -> None:
    assert len(at_risk(notes(*(it for it in WHOLE if it != without)))) == 1


@pytest.mark.parametrize("without", ["flush /r/new/a", "flush /r/new", "flush /r"])
def test_a_folder_of_which_something_is_not_flushed_is_at_risk(without: str) -> None:
    assert len(at_risk(notes(*(it for it in FOLDER if it != without)))) == 1


def test_what_is_written_after_it_was_flushed_is_at_risk() -> None:
    lines = ["write /r/new", "flush /r/new", "write /r/new", "rename /r/file /r/new", "flush /r"]
    assert at_risk(notes(*lines)) == ["/r/new was renamed to /r/file unflushed"]
