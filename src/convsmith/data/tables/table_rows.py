"""The rows of a table: CSV with commas, semicolons or tabs, or JSON Lines. Whatever is wrong names the line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from convsmith.errors import ConvsmithError, printable, quoted

_JSON = (".jsonl", ".ndjson")
ENDINGS = (".csv", ".tsv", *_JSON)
_LONGEST = 2**20  # characters of a line of JSON, and of the first line of others
_SHOWN = 60

Row = Mapping[str | None, Any]
"""The cells by the name of their column."""


class Column(Protocol):
    """Takes what a table says of each image from the columns that hold it."""

    def find(self, path: Path, row: Row) -> Sequence[str]:
        """Find the columns by the first row, and return their names. ConvsmithError if they lack."""

    def add(self, path: Path, line: int, row: Row) -> None:
        """Take in a row. ConvsmithError, which names its line, for what cannot be meant."""


def read_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Each row, with the line that it ends in, counted from 1.

    Raises:
        ConvsmithError: the file cannot be read, is not UTF-8, or has a line that is not a row.
    """
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() in _JSON:
                yield from _objects(path, iter(lambda: file.readline(_LONGEST), ""))
                return
            head = file.readline(_LONGEST)
            file.seek(0)
            delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            for row in reader:
                line = reader.line_num
                if None in row:
                    raise ConvsmithError(
                        f"line {line} of {printable(path)} has more cells than the first line",
                        "",
                        'Put cells that hold the separator into "quotes".',
                    )
                yield line, row
    except UnicodeDecodeError as error:
        raise ConvsmithError(f"{printable(path)} is not UTF-8", "", "Save it as UTF-8.") from error
    except csv.Error as error:
        raise ConvsmithError(f"cannot read {printable(path)} behind line {line}", str(error)) from error
    except OSError as error:
        raise ConvsmithError(f"cannot read {printable(path)}", error.strerror or str(error)) from error


def _objects(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Row]]:
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConvsmithError(f"line {number} of {printable(path)} is not JSON", str(error)) from error
        if not isinstance(row, dict):
            raise ConvsmithError(f"line {number} of {printable(path)} is not an object", "a row is {...}")
        yield number, row


def cell_of(path: Path, line: int, row: Row, column: str) -> str:
    """The text of a cell, or the digits of a whole number, without white space around it.

    Raises:
        ConvsmithError: it is empty, or of another kind.
    """
    value = row.get(column)
    text = "" if value is None else text_of(path, line, column, value)
    if not text:
        raise ConvsmithError(
            f"line {line} of {printable(path)} has no `{printable(column)}`", "", "Fill it in, or leave the row out."
        )
    return text


def text_of(path: Path, line: int, column: str, value: object) -> str:
    """The value of a cell as text without white space around it; a ConvsmithError for other kinds than `cell_of`."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _is_plain(text):
        raise ConvsmithError(shown_cell(path, line, column, value), "it must be text, or a whole number")
    return text.strip()


def shown_cell(path: Path, line: int, column: str, value: object) -> str:
    """Where a cell is that holds something else than it must, and what it holds, for an error."""
    return f"line {line} of {printable(path)}: `{printable(column)}` is {json.dumps(value)[:_SHOWN]}"


def find_column(row: Row, usual: Sequence[str]) -> str | None:
    """The column with the first of the usual names that there is, in any case."""
    found = {name.strip().casefold(): name for name in row if name is not None}
    return next((found[name] for name in usual if name in found), None)


def require_column(path: Path, row: Row, usual: Sequence[str]) -> str:
    """The column that `find_column` finds, or a ConvsmithError that says which columns there are."""
    column = find_column(row, usual)
    if column is None:
        raise ConvsmithError(
            f"{printable(path)} has no column `{usual[0]}`",
            f"it has {quoted(name for name in row if name is not None)}",
            f"Name the column one of {quoted(usual)}.",
        )
    return column


def _is_plain(text: str) -> bool:
    """Whether it is text that a file system and a JSON file can hold."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
