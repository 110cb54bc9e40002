"""Several labels in a row of a table: in one cell, or in a column of 0 and 1 for each class."""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from convsmith.data.packed_labels import PackedLabels
from convsmith.data.tables.table_rows import Row, RowBatch, Table, find_named, shown_cell, text_of
from convsmith.errors import ConvsmithError, printable, quoted
from convsmith.recipe.columns import Columns

LABELS = ("labels", "classes", "targets", "tags")
SEPARATOR = "|"
_NOT_CLASSES = ("fold", "index", "width", "height", "unnamed: 0", "__index_level_0__")  # the last two: pandas
_YES, _NO = ("1", "1.0", "true"), ("0", "0.0", "false")
_USUAL: dict[object, bool] = {**dict.fromkeys((*_YES, 1), True), **dict.fromkeys((*_NO, 0), False)}


class LabelColumns:
    """Collects the labels of each row, as a `Column`.

    Args:
        named: the names of columns that the recipe says.
        others: names of columns that hold something else, in any case.

    Attributes:
        of_classes: the columns that are classes; empty where one column holds all labels.
    """

    def __init__(self, named: Columns, others: Iterable[str]) -> None:
        said = (named.image, named.label, named.mask, named.split, named.group, named.weight)
        self._named, self._others = named, (*others, *filter(None, said))
        self._column: str | None = None
        self._numbers: dict[str, int] = {}  # label to number
        self._seen = {"": -1}  # the same, by what stands in the cell
        self._rows, self._members = array("q"), array("i")  # pairs of a row and the number of a label
        self._without = array("q")
        self._count = 0
        self.of_classes: tuple[str, ...] = ()

    def find(self, table: Table, row: Row) -> Sequence[str]:
        """The column of all labels, or else those of 0 and 1."""
        self._column = find_named(table, row, self._named.names("labels", LABELS), self._named.labels)
        if self._column is not None:
            return (self._column,)
        self.of_classes = class_columns(row, self._others)
        if not self.of_classes:
            raise ConvsmithError(
                f"{printable(table.path)} has no labels",
                f"it has the columns {quoted(name for name in row if name is not None)}",
                f"Name the column with the labels, with {SEPARATOR} between several, one of {quoted(LABELS)}; or give "
                "each class a column of 0 and 1.",
            )
        for column in self.of_classes:
            self._number(column)
        return self.of_classes

    def add_all(self, batch: RowBatch) -> bool:
        """Take in the labels of a batch, if each is one of a row before."""
        found = self._of_cells(batch) if self._column else self._of_columns(batch)
        if found is None:
            return False
        rows, members = found
        self._rows.frombytes((rows + self._count).tobytes())
        self._members.frombytes(members.tobytes())
        self._count += len(batch.numbers)
        return True

    def _of_cells(self, batch: RowBatch) -> tuple[NDArray[np.int64], NDArray[np.int32]] | None:
        rows, members = array("q"), array("i")
        try:
            for row, cell in enumerate(batch.columns[self._column or ""]):
                several = {self._seen[one] for one in cell.split(SEPARATOR)}
                several.discard(-1)
                rows.extend([row] * len(several))
                members.extend(several)
        except (KeyError, AttributeError):
            return None
        return np.asarray(rows, np.int64), np.asarray(members, np.int32)

    def _of_columns(self, batch: RowBatch) -> tuple[NDArray[np.int64], NDArray[np.int32]] | None:
        cells = [batch.columns[name] for name in self.of_classes]
        numbers = np.array([self._number(name) for name in self.of_classes], np.int32)
        if len(self._numbers) < len(numbers) or not all({*map(type, of)} <= {str, int, bool} for of in cells):
            return None
        try:
            there = np.array([[_USUAL[cell] for cell in of] for of in cells], bool)
        except KeyError:
            return None
        rows, columns = there.T.nonzero()
        return rows.astype(np.int64), numbers[columns]

    def add(self, table: Table, number: int, row: Row) -> None:
        """Take in the labels of a row."""
        found = self._in_cell(table, number, row) if self._column else self._in_columns(table, number, row)
        for label in set(map(self._number, found)):
            self._rows.append(self._count)
            self._members.append(label)
        self._count += 1

    def _number(self, label: str) -> int:
        return self._numbers.setdefault(unicodedata.normalize("NFC", label.strip()), len(self._numbers))

    def _in_cell(self, table: Table, number: int, row: Row) -> Iterator[str]:
        assert self._column is not None
        value = row.get(self._column)
        if value is None:
            self._without.append(self._count)  # a test that is left out need not have any
            return
        several = value if isinstance(value, list) else text_of(table, number, self._column, value).split(SEPARATOR)
        for one in several:
            label = text_of(table, number, self._column, one)
            self._seen[str(one)] = self._number(label) if label else -1
            if label:
                yield label

    def _in_columns(self, table: Table, number: int, row: Row) -> Iterator[str]:
        for column in self.of_classes:
            there = is_there(row.get(column))
            if there is None:
                why = "a column that begins with 0 or 1 is a class, and is 0 or 1 in every row"
                raise ConvsmithError(
                    shown_cell(table, number, column, row.get(column)), why, "Correct it, or leave the column out."
                )
            if there:
                yield column

    @property
    def names(self) -> tuple[str, ...]:
        """All labels, sorted by code point."""
        return tuple(sorted(self._numbers))

    def pack(self, classes: Sequence[str]) -> PackedLabels:
        """The labels of all rows as positions among the classes; those that are none of them are left out."""
        rows, members = self._pairs(classes)
        known = members >= 0
        return PackedLabels.pack(rows[known], members[known], (self._count, len(classes)))

    def first_without(self, rows: NDArray[np.int64]) -> int | None:
        """The first of the rows whose cell of labels lacks, which is not the same as an empty one."""
        found = np.intersect1d(rows, np.asarray(self._without, np.int64))
        return int(found[0]) if found.size else None

    @property
    def column(self) -> str:
        """The column of all labels; empty where classes have columns of their own."""
        return self._column or ""

    def first_unknown(self, rows: NDArray[np.int64], classes: Sequence[str]) -> tuple[int, str] | None:
        """The first of the rows with a label that is none of the classes, and that label."""
        pairs, members = self._pairs(classes)
        strange = np.flatnonzero((members < 0) & np.isin(pairs, rows))
        if not strange.size:
            return None
        return int(pairs[strange[0]]), list(self._numbers)[self._members[strange[0]]]

    def _pairs(self, classes: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Row and position among the classes of each label; -1 for one that is none of them."""
        place = {label: i for i, label in enumerate(classes)}
        places = np.array([place.get(label, -1) for label in self._numbers], np.int32)
        return np.asarray(self._rows, np.int64), places[np.asarray(self._members, np.int32)]


def class_columns(row: Row, others: Iterable[str]) -> tuple[str, ...]:
    """The columns that hold 0 or 1 in this row, and are called nothing else that a table may have."""
    taken = {name.casefold() for name in (*others, *_NOT_CLASSES)}
    return tuple(
        name
        for name, value in row.items()
        if name is not None and name.strip() and name.strip().casefold() not in taken and is_there(value) is not None
    )


def is_there(value: object) -> bool | None:
    """Whether a cell says that a class is there; None if it says neither."""
    text = str(value).strip().casefold()
    return True if text in _YES else False if text in _NO else None
