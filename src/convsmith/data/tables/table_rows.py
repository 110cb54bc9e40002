"""The rows of a table, whatever holds them, and the cells in them. Whatever is wrong names the row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from convsmith.data.contents import Contents
from convsmith.errors import ConvsmithError, printable, quoted
from convsmith.recipe.data import Data

_SHOWN = 60

Kind = Literal["image", "mask"]

Row = Mapping[str | None, Any]
"""The cells by the name of their column."""

AT_ONCE = 1024
"""Rows in a batch."""


@dataclass(frozen=True)
class RowBatch:
    """Some rows of a table, column by column, which takes a fraction of the time.

    Attributes:
        numbers: of the rows.
        columns: the cells of each column.
    """

    numbers: Sequence[int]
    columns: Mapping[str, Sequence[Any]]

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Each row, with its number."""
        rows = zip(*self.columns.values(), strict=True) if self.columns else repeat(())
        for number, cells in zip(self.numbers, rows, strict=False):
            yield number, dict(zip(self.columns, cells, strict=True))


class Table(Protocol):
    """A table with a row for each image."""

    @property
    def path(self) -> Path:
        """The place that messages call it by."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines worth printing."""

    @property
    def root(self) -> Path:
        """The folder of the data, as an absolute path, which may hold classes.txt."""

    def at(self, number: int) -> str:
        """The row of a number, for messages."""

    def name_item(self, name: str, number: int) -> str:
        """The name, in messages, of something in the row of a number."""

    def pictures(self, kind: Kind, names: Sequence[str], section: Data) -> Pictures:
        """Collects the images or masks of rows that are read, from the column of one of these names."""

    def first(self) -> Row:
        """The first row, with all columns; empty where there is none.

        Raises:
            ConvsmithError: the table cannot be read.
        """

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """All rows, with these of their columns, of None where they lack.

        Raises:
            ConvsmithError: the table cannot be read, or holds what is not a row; all rows before it came.
        """


class Column(Protocol):
    """Takes what a table says of each image from the columns that hold it."""

    def find(self, table: Table, row: Row) -> Sequence[str]:
        """Find the columns by the first row, and return their names. ConvsmithError if they lack."""

    def add_all(self, batch: RowBatch) -> bool:
        """Take in all rows of a batch, and say so; or none of them, where one is unlike most: `add` takes each."""

    def add(self, table: Table, number: int, row: Row) -> None:
        """Take in a row. ConvsmithError, which names it, for what cannot be meant."""


class Pictures(Column, Protocol):
    """Takes where the image or the mask of each row is."""

    def build(self, rows: NDArray[np.int64]) -> Contents:
        """The images or masks of all rows that were added, by their numbers."""


def each_row(table: Table, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """Each row of a table, with its number and these of its columns."""
    for batch in table.batches(columns):
        yield from batch.rows()


def add_batch(table: Table, batch: RowBatch, columns: Iterable[Column]) -> None:
    """Let each column take in the rows of a batch. ConvsmithError for the first that one of them cannot take."""
    rest = [column for column in columns if not column.add_all(batch)]
    for number, row in batch.rows() if rest else ():
        for column in rest:
            column.add(table, number, row)


def plain_texts(cells: Sequence[Any]) -> list[str] | None:
    """The texts of some cells as `cell_of` gives them; None where one is empty, or no text, or no plain one."""
    try:
        texts = [*map(str.strip, cells)]
    except TypeError:
        return None
    return texts if all(texts) and _is_plain("".join(texts)) else None


def cell_of(table: Table, number: int, row: Row, column: str) -> str:
    """The text of a cell, or the digits of a whole number, without white space around it.

    Raises:
        ConvsmithError: it is empty, or of another kind.
    """
    value = row.get(column)
    text = "" if value is None else text_of(table, number, column, value)
    if not text:
        raise ConvsmithError(
            f"{table.at(number)} has no `{printable(column)}`", "", "Fill it in, or leave the row out."
        )
    return text


def text_of(table: Table, number: int, column: str, value: object) -> str:
    """The value of a cell as text without white space around it; a ConvsmithError for other kinds than `cell_of`."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _is_plain(text):
        raise ConvsmithError(shown_cell(table, number, column, value), "it must be text, or a whole number")
    return text.strip()


def shown_cell(table: Table, number: int, column: str, value: object) -> str:
    """Where a cell is that holds something else than it must, and what it holds, for an error."""
    return f"{table.at(number)}: `{printable(column)}` is {json.dumps(value, default=str)[:_SHOWN]}"


def find_column(row: Row, names: Sequence[str]) -> str | None:
    """The column with the first of some names that there is, in any case."""
    found = {name.strip().casefold(): name for name in row if name is not None}
    return next((found[name.casefold()] for name in names if name.casefold() in found), None)


def find_named(table: Table, row: Row, names: Sequence[str], said: str | None) -> str | None:
    """The column that `find_column` finds, which must be there if the recipe has said its name."""
    return find_column(row, names) if said is None else require_column(table, row, names)


def require_column(table: Table, row: Row, names: Sequence[str]) -> str:
    """The column that `find_column` finds, or a ConvsmithError that says which columns there are."""
    column = find_column(row, names)
    if column is None:
        raise ConvsmithError(
            f"{printable(table.path)} has no column `{printable(names[0])}`",
            f"it has {quoted(name for name in row if name is not None)}",
            f"Name the column one of {quoted(names)}." if len(names) > 1 else "Correct data.columns.",
        )
    return column


def _is_plain(text: str) -> bool:
    """Whether it is text that a file system and a JSON file can hold."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
