"""A table with a row for each image: which images there are, where the rows are, and the split of each."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.data.contents import Content
from convsmith.data.dataset import Split
from convsmith.data.folders.files import Files, FilesBuilder
from convsmith.data.split import Keep, Share, hold_out
from convsmith.data.tables.table_file import TableFile
from convsmith.data.tables.table_rows import Column, cell_of, find_column, require_column
from convsmith.errors import ConvsmithError, counted, did_you_mean, printable, quoted
from convsmith.recipe.schema import Data

PATH = ("image", "path", "file_name", "filename", "image_path", "filepath", "file")
SPLIT = ("split", "part", "subset")
WHOLE, TRAIN, _VAL, _TEST = range(4)  # of a row: no column says its split, or it is of that one
_SPLITS = {"train": TRAIN, "training": TRAIN, "val": _VAL, "valid": _VAL, "validation": _VAL, "test": _TEST}

"""Gets the numbers of the rows to train on, and of those held out."""


@dataclass(frozen=True)
class Rows:
    """The `Contents` of files that rows of a table name.

    Attributes:
        files: the files.
        rows: the number of the row of each, int64 `[N]`.
        table: the table.
        also: what else tells the rows of this table from those of others.
    """

    files: Files
    rows: NDArray[np.int64]
    table: TableFile
    also: bytes = b""

    shards: None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Content:
        file = self.files[i]
        return Content(f"{file.name} ({self.table.name_row(int(self.rows[i]))})", file.open)

    @property
    def key(self) -> tuple[NDArray[np.generic], ...]:
        """The paths below the folder of the table, and what else tells them apart."""
        return (*self.files.key, np.frombuffer(self.also, np.uint8))

    @property
    def names(self) -> NDArray[np.uint64]:
        """A hash of each path."""
        return self.files.names

    @property
    def stats(self) -> NDArray[np.int64]:
        """Size and time of change of each file."""
        return self.files.stats

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Rows:
        """The rows at `indices`, in that order."""
        chosen = np.asarray(indices, np.int64)
        return Rows(self.files.select(chosen), self.rows[chosen], self.table, self.also)


@dataclass(frozen=True)
class ImageTable:
    """The images of a table, and what its columns say of them.

    Attributes:
        table: the table.
        images: their files, in the order of the rows.
        splits: the split of each, int8 `[N]`.
        notes: lines worth printing.
    """

    table: TableFile
    images: Rows
    splits: NDArray[np.int8]
    notes: tuple[str, ...]

    def at(self, *splits: int) -> NDArray[np.int64]:
        """The numbers of the rows of some splits."""
        return np.flatnonzero(np.isin(self.splits, splits))

    def parts(
        self, strata: NDArray[np.int64], share: Share | None, keep: Keep | None = None
    ) -> tuple[dict[Split, Any], list[str]]:
        """The numbers of the rows to train on and to validate on, and notes.

        Args:
            strata: what has to be in both where some is held out, such as the class of each row.
            share: see `Opener.open`.
            keep: says which of the rows held out must be trained on after all.
        """
        train, val, notes = self.at(WHOLE, TRAIN), self.at(_VAL), list(self.notes)
        if not len(train):
            raise ConvsmithError(
                f"{printable(self.table.path)} has no row to train on", "", "Give some rows the split `train`."
            )
        if tests := len(self.at(_TEST)):
            notes.append(f"left out: {counted(tests, 'row')} of the split `test`")
        if not len(val) and share is not None:
            spare = None if keep is None else lambda to_train, held: keep(train[to_train], train[held])
            total, held_out = len(train), hold_out(self.images.names[train], strata[train], share, spare)
            train, val = train[~held_out], train[held_out]
            if not len(val):
                raise ConvsmithError(
                    f"no images left for validation in {printable(self.table.path)}",
                    "there is no class of which one image could be spared",
                    "Add rows, or give some the split `val`.",
                )
            notes.append(
                f"no rows of the split `val`: held out {len(val)} of {total} images for validation, the same each time"
            )
        return {"train": train, "val": val}, notes

    def judged(self) -> tuple[NDArray[np.int64], bool]:
        """The numbers of the rows to judge a model by, and whether they are of `val`, or else of `test`; else all."""
        part = next((rows for split in (_VAL, _TEST) if len(rows := self.at(split))), None)
        return (self.at(WHOLE, TRAIN), False) if part is None else (part, True)

    def images_of(self, rows: NDArray[np.int64], classes: Sequence[str]) -> Rows:
        """The images at `rows`, told apart from those of other classes."""
        images = self.images.select(rows)
        return Rows(images.files, images.rows, images.table, "\n".join(classes).encode())

    def unknown(self, row: int, label: str, classes: Sequence[str], whose: str) -> ConvsmithError:
        """The error for a row with a label that is none of the classes."""
        what = f"has the label `{printable(label)}`, which {whose} lacks{did_you_mean(label, classes)}"
        return self.error(row, what, f"its classes are {quoted(classes)}", "Correct the label, or leave the row out.")

    def error(self, row: int, what: str, why: str = "", fix: str = "") -> ConvsmithError:
        """An error about a row, by its number."""
        return ConvsmithError(f"{self.table.at(int(self.images.rows[row]))} {what}", why, fix)


def read_table(table: TableFile, targets: Column) -> ImageTable:
    """Read all rows, of which `targets` takes what it collects.

    Raises:
        ConvsmithError: a column is missing, or a row or the table cannot be used; it names the row.
    """
    first = table.first()
    if not first:
        raise ConvsmithError(f"{printable(table.path)} has no rows", "", "Give a table with a row for each image.")
    path, of_split = require_column(table, first, PATH), find_column(first, SPLIT)
    used = dict.fromkeys([path, *([of_split] if of_split else []), *targets.find(table, first)])
    others = [str(name) for name in first if name is not None and name not in used and name.strip()]
    notes = [f"left out, columns of {table.path.name} that are not used: {quoted(others)}"] if others else []
    files, rows, splits = FilesBuilder(table.path.absolute().parent), array("q"), array("b")
    for number, row in table.rows([*used]):
        files.add(as_path(cell_of(table, number, row, path)))
        splits.append(_split_of(table, number, cell_of(table, number, row, of_split)) if of_split else WHOLE)
        targets.add(table, number, row)
        rows.append(number)
    images = Rows(files.build(), np.asarray(rows, np.int64), table)
    return ImageTable(table, images, np.asarray(splits, np.int8), tuple(notes))


def _split_of(table: TableFile, number: int, name: str) -> int:
    if (known := _SPLITS.get(name.casefold())) is None:
        raise ConvsmithError(
            f"{table.at(number)} has the split `{printable(name)}`",
            f"known are {quoted(_SPLITS)}",
            "Correct it, or leave the row out.",
        )
    return known


def check_files(table: ImageTable, rows: Rows, section: Data) -> None:
    """Refuse files that are named twice, and those that are not there unless bad ones are skipped."""
    order = np.argsort(rows.names, kind="stable")
    twice = np.flatnonzero(rows.names[order][1:] == rows.names[order][:-1])
    if twice.size and rows is table.images:
        first, second = sorted((int(order[twice[0]]), int(order[twice[0] + 1])))
        raise table.error(
            second,
            f"names the same image as {table.table.name_row(int(rows.rows[first]))}",
            "",
            "Leave one of the rows out.",
        )
    missing = np.flatnonzero(~rows.stats.any(axis=1))
    if missing.size and section.on_error != "skip":
        i = int(missing[0])
        raise ConvsmithError(
            f"{len(missing)} of {counted(len(rows), 'file')} that {printable(table.table.path)} names are missing, "
            f"such as {printable(rows[i].name)}",
            "paths are relative to the folder of the table",
            "Correct the paths, with / between folders, or leave the rows out.",
        )


def as_path(text: str) -> bytes:
    """A path in a cell, as the file system spells it."""
    return os.fsencode(PurePath(text))  # without a ./ at its start
