"""Columns that a table may have beside images and labels: the group of an image, and how often it is drawn."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convsmith.data.group_split import Groups
from convsmith.data.tables.table_rows import Row, RowBatch, Table, cell_of, find_named, plain_texts
from convsmith.recipe.columns import Columns

GROUP = ("group", "group_id", "patient", "patient_id", "subject", "subject_id")
WEIGHT = ("weight", "sample_weight")


class GroupColumn:
    """Collects the group of each row, as a `Column`."""

    def __init__(self, named: Columns) -> None:
        self._named = named
        self._column: str | None = None
        self._numbers, self._of_rows = dict[str, int](), array("q")

    def find(self, table: Table, row: Row) -> Sequence[str]:
        """The column, if there is one."""
        self._column = find_named(table, row, self._named.names("group", GROUP), self._named.group)
        return [self._column] if self._column else []

    def add_all(self, batch: RowBatch) -> bool:
        """Take in the groups of a batch."""
        if self._column is None:
            return True
        if (groups := plain_texts(batch.columns[self._column])) is None:
            return False
        self._of_rows.extend([self._numbers.setdefault(group, len(self._numbers)) for group in groups])
        return True

    def add(self, table: Table, number: int, row: Row) -> None:
        """Take in the group of a row."""
        if self._column is not None:
            group = cell_of(table, number, row, self._column)
            self._of_rows.append(self._numbers.setdefault(group, len(self._numbers)))

    def build(self) -> Groups | None:
        """The groups of all rows; None where there is no such column."""
        return Groups(np.asarray(self._of_rows, np.int64), list(self._numbers)) if self._column else None


class WeightColumn:
    """Collects the weight of each row, as a `Column`. Whether they can be drawn by is asked where they are."""

    def __init__(self, named: Columns) -> None:
        self._named = named
        self._column: str | None = None
        self._weights = array("d")

    def find(self, table: Table, row: Row) -> Sequence[str]:
        """The column, if there is one."""
        self._column = find_named(table, row, self._named.names("weight", WEIGHT), self._named.weight)
        return [self._column] if self._column else []

    def add_all(self, batch: RowBatch) -> bool:
        """Take in the weights of a batch."""
        if self._column is not None:
            self._weights.extend(map(_number, batch.columns[self._column]))
        return True

    def add(self, table: Table, number: int, row: Row) -> None:  # noqa: ARG002 - a `Column`
        """Take in the weight of a row, NaN for what is not a number."""
        if self._column is not None:
            self._weights.append(_number(row.get(self._column)))

    def build(self) -> NDArray[np.float64] | None:
        """The weights of all rows, float64 `[N]`; None where there is no such column."""
        return np.asarray(self._weights, np.float64) if self._column else None


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, str | int | float) else float("nan")
    except (ValueError, OverflowError):
        return float("nan")
