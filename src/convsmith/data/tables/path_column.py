"""The column of a table that names the file of each image, or of its mask."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from convsmith.data.folders.files import Files, FilesBuilder
from convsmith.data.tables.find_images import PROBED, Found
from convsmith.data.tables.table_rows import Kind, Row, RowBatch, Table, cell_of, plain_texts, require_column
from convsmith.errors import ConvsmithError, printable, quoted

_UNTIDY = re.compile(r"(^|/)\.?(/|$)").search  # of millions of paths few have to be taken apart
_UNTIDY_OF_MANY = ("//", "/\0", "\0/", "/./", "\0./", "/.\0", "\0.\0")  # the same, with a zero around each path


class PathColumn:
    """Collects the path of the image or the mask of each row, as `Pictures`.

    Args:
        kind: of pictures.
        names: of the column.
        table: the table.
        root: the folder that paths are relative to, itself relative to the folder of the table; None: that folder.
    """

    def __init__(self, kind: Kind, names: Sequence[str], table: Table, root: str | None) -> None:
        self._kind, self._names = kind, names
        self._root = table.path.absolute().parent / (root or "")
        if root is not None and not self._root.is_dir():
            raise ConvsmithError(
                f"data.root is {printable(root)}, but there is no folder {printable(self._root)}",
                "it is relative to the folder of the table",
                "Correct it, or leave it out.",
            )
        self._paths = FilesBuilder(self._root)
        self._column, self._table = "", table

    def find(self, table: Table, row: Row) -> Sequence[str]:
        """The column. ConvsmithError if there is none."""
        self._column = require_column(table, row, self._names)
        return [self._column]

    def add_all(self, batch: RowBatch) -> bool:
        """Take in the paths of a batch, if all are tidy."""
        paths = plain_texts(batch.columns[self._column])
        if paths is None or os.sep != "/":
            return False
        text = "\0" + "\0".join(paths) + "\0"
        if any(untidy in text for untidy in _UNTIDY_OF_MANY):
            return False
        encoded = np.frombuffer(os.fsencode(text), np.uint8)
        ends = np.flatnonzero(encoded == 0)
        self._paths.add_packed(encoded[encoded != 0], (np.diff(ends) - 1).astype(np.int32))
        return True

    def add(self, table: Table, number: int, row: Row) -> None:
        """Take in the path of a row."""
        path = cell_of(table, number, row, self._column)
        self._paths.add(os.fsencode(PurePath(path) if _UNTIDY(path) or os.sep != "/" else path))

    def build(self, rows: NDArray[np.int64]) -> Files:
        """The files of all rows; see `Found` for where they lie."""
        named = self._paths.build()
        probes = [named.relative(i) for i in range(min(len(named), PROBED))]
        found = Found(self._root, probes, [self._kind, self._table.path.stem])
        if found.as_named:
            return named
        paths = FilesBuilder(self._root)
        for i, number in enumerate(rows):
            several = found.path(named.relative(i))
            if len(several) > 1:
                raise ConvsmithError(
                    f"{self._table.at(int(number))} may name {quoted(os.fsdecode(path) for path in several)}",
                    "they differ in their ending only",
                    "Write the ending, or remove one of them.",
                )
            paths.add(several[0])
        return paths.build()
