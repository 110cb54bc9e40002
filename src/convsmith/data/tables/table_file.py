"""A table in a file: CSV with commas, semicolons or tabs, JSON Lines, or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from convsmith.data.tables.parquet_rows import first_parquet_row, parquet_batches
from convsmith.data.tables.path_column import PathColumn
from convsmith.data.tables.table_rows import AT_ONCE, Kind, Row, RowBatch
from convsmith.errors import ConvsmithError, printable
from convsmith.recipe.data import Data

_JSON, _PARQUET = (".jsonl", ".ndjson"), (".parquet", ".pq")
ENDINGS = (".csv", ".tsv", *_JSON, *_PARQUET)
_LONGEST = 2**20  # characters of a line of JSON, and of the first line of others


@dataclass(frozen=True)
class TableFile:
    """A `Table` in a file. A row is numbered by the line that it ends in, from 1; in Parquet by its place, from 0."""

    path: Path
    notes: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The folder of the file."""
        return self.path.absolute().parent

    def at(self, number: int) -> str:
        """The row of a number, with the path of the file."""
        return f"{self._word} {number} of {printable(self.path)}"

    def name_item(self, name: str, number: int) -> str:
        """A file that a row names."""
        return f"{name} ({self._word} {number} of {printable(self.path.name)})"

    def pictures(self, kind: Kind, names: Sequence[str], section: Data) -> PathColumn:
        """Collects the paths of images or masks."""
        return PathColumn(kind, names, self, section.root)

    @property
    def _word(self) -> str:
        return "row" if _is_parquet(self.path) else "line"

    def first(self) -> Row:
        """The first row; empty where there is none."""
        if _is_parquet(self.path):
            return first_parquet_row(self.path)
        for _, names, cells in _lines(self.path):
            return cells if isinstance(cells, dict) else dict(zip_longest(names, cells))
        return {}

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """All rows, some at a time; of Parquet only the columns are read.

        Raises:
            ConvsmithError: the file cannot be read, is not UTF-8, or has a line that is not a row.
        """
        return parquet_batches(self.path, columns) if _is_parquet(self.path) else _text_batches(self.path, columns)


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in _PARQUET


_Line = tuple[int, Sequence[str], Any]
"""The number of a row, the names of all columns, and its cells; of JSON no names, and its cells by theirs."""


def _text_batches(path: Path, columns: Sequence[str]) -> Iterator[RowBatch]:
    lines: list[_Line] = []
    try:
        for line in _lines(path):
            lines.append(line)
            if len(lines) == AT_ONCE:
                yield _batch(lines, columns)
                lines.clear()
    except ConvsmithError:
        if lines:  # what is wrong in these is said first
            yield _batch(lines, columns)
        raise
    if lines:
        yield _batch(lines, columns)


def _batch(lines: Sequence[_Line], columns: Sequence[str]) -> RowBatch:
    numbers, (names, *_), rows = zip(*lines, strict=True)
    if not names:
        return RowBatch(numbers, {column: [row.get(column) for row in rows] for column in columns})
    if any(len(cells) != len(names) for cells in rows):
        rows = tuple([*cells, *[None] * (len(names) - len(cells))] for cells in rows)
    found = dict(zip(names, zip(*rows, strict=True), strict=True))  # of two columns of a name the last one counts
    return RowBatch(numbers, {column: found[column] for column in columns})


def _lines(path: Path) -> Iterator[_Line]:
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() in _JSON:
                yield from _objects(path, iter(lambda: file.readline(_LONGEST), ""))
                return
            head = file.readline(_LONGEST)
            file.seek(0)
            delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            names = next(reader, [])
            for cells in reader:
                line = reader.line_num
                if not cells:  # an empty line
                    continue
                if len(cells) > len(names):
                    raise ConvsmithError(
                        f"line {line} of {printable(path)} has more cells than the first line",
                        "",
                        'Put cells that hold the separator into "quotes".',
                    )
                yield line, names, cells
    except UnicodeDecodeError as error:
        raise ConvsmithError(f"{printable(path)} is not UTF-8", "", "Save it as UTF-8.") from error
    except csv.Error as error:
        raise ConvsmithError(f"cannot read {printable(path)} behind line {line}", str(error)) from error
    except OSError as error:
        raise ConvsmithError(f"cannot read {printable(path)}", error.strerror or str(error)) from error


def _objects(path: Path, lines: Iterator[str]) -> Iterator[_Line]:
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConvsmithError(f"line {number} of {printable(path)} is not JSON", str(error)) from error
        if not isinstance(row, dict):
            raise ConvsmithError(f"line {number} of {printable(path)} is not an object", "a row is {...}")
        yield number, (), row
