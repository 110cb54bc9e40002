"""The images, or masks, that the rows of a table name or hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from convsmith.data.contents import Content, Contents
from convsmith.data.group_split import Groups
from convsmith.data.tables.table_rows import Table


@dataclass(frozen=True)
class TableContents:
    """The `Contents` of rows of a table.

    Attributes:
        items: the contents themselves.
        rows: the number of the row of each, int64 `[N]`.
        table: the table.
        weights: how often each is drawn beside others, float64 `[N]`, NaN where its row does not say it; None where no
            column does.
        groups: the group of each; None where no column says it.
        also: what else tells these rows from those of others.
    """

    items: Contents
    rows: NDArray[np.int64]
    table: Table
    weights: NDArray[np.float64] | None = None
    groups: Groups | None = None
    also: bytes = b""

    shards: None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Content:
        item = self.items[i]
        return Content(self.table.name_item(item.name, int(self.rows[i])), item.open)

    @property
    def key(self) -> tuple[NDArray[np.generic], ...]:
        """The names of the items, their weights, and what else tells them apart."""
        weights = () if self.weights is None else (self.weights,)
        return (*self.items.key, *weights, np.frombuffer(self.also, np.uint8))

    @property
    def names(self) -> NDArray[np.uint64]:
        """A hash of what names each."""
        return self.items.names

    @property
    def stats(self) -> NDArray[np.int64]:
        """Size and time of change of each."""
        return self.items.stats

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> TableContents:
        """Those at `indices`, in that order."""
        chosen = np.asarray(indices, np.int64)
        weights = None if self.weights is None else self.weights[chosen]
        groups = None if self.groups is None else self.groups.select(chosen)
        return replace(self, items=self.items.select(chosen), rows=self.rows[chosen], weights=weights, groups=groups)
