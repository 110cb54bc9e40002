"""A table with a row for each image: which images there are, where the rows are, and the split of each."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.data.dataset import Split
from convsmith.data.folders.files import Files
from convsmith.data.folders.scan import note_places
from convsmith.data.group_split import groups_in_both
from convsmith.data.parts import PARTS, Part, part_to_judge
from convsmith.data.split import Keep, Share, hold_out
from convsmith.data.tables.extra_columns import GroupColumn, WeightColumn
from convsmith.data.tables.table_contents import TableContents
from convsmith.data.tables.table_rows import Column, Row, RowBatch, Table, add_batch, cell_of, find_named
from convsmith.errors import ConvsmithError, counted, did_you_mean, printable, quoted
from convsmith.recipe.columns import Columns
from convsmith.recipe.data import Data

PATH = (
    *("image", "path", "file_name", "filename", "image_path", "filepath", "file"),
    *("img", "img_path", "image_name", "image_file", "image_id", "id"),
)
SPLIT = ("split", "part", "subset")
WHOLE, TRAIN, _VAL, _TEST = range(4)  # of a row: no column says its split, or it is of that one
_NUMBERS: dict[Part, int] = {"train": TRAIN, "val": _VAL, "test": _TEST}


@dataclass(frozen=True)
class ImageTable:
    """The images of a table, and what its columns say of them.

    Attributes:
        table: the table.
        images: the images, in the order of the rows.
        splits: the split of each, int8 `[N]`.
        notes: lines worth printing.
    """

    table: Table
    images: TableContents
    splits: NDArray[np.int8]
    notes: tuple[str, ...]

    @cached_property
    def names(self) -> NDArray[np.uint64]:
        """A hash of what names each image, uint64 `[N]`."""
        return self.images.names

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
        if len(val):
            notes += groups_in_both(self.images.groups, train, val)
        elif share is not None:
            spare = None if keep is None else lambda to_train, held: keep(train[to_train], train[held])
            groups = None if self.images.groups is None else self.images.groups.select(train)
            total, held_out = len(train), hold_out(self.names[train], strata[train], share, spare, groups)
            train, val = train[~held_out], train[held_out]
            if not len(val):
                raise ConvsmithError(
                    f"no images left for validation in {printable(self.table.path)}",
                    f"there is no class of which one {'image' if groups is None else 'group'} could be spared",
                    "Add rows, or give some the split `val`.",
                )
            whole = "" if groups is None else f", {groups.select(np.flatnonzero(held_out)).count()} whole groups,"
            notes.append(
                f"no rows of the split `val`: held out {len(val)} of {total} images{whole} for validation, the same "
                "each time"
            )
        return {"train": train, "val": val}, notes

    def judged(self, wanted: Part | None) -> tuple[NDArray[np.int64], bool]:
        """The rows to judge a model by: those of a part, see `part_to_judge`, or all; and whether it is a part."""
        there = {part: rows for part, number in _NUMBERS.items() if len(rows := self.at(number))}
        part = part_to_judge(self.table.path, wanted, there)
        return (self.at(WHOLE, TRAIN), False) if part is None else (there[part], True)

    def images_of(self, rows: NDArray[np.int64], classes: Sequence[str]) -> TableContents:
        """The images at `rows`, told apart from those of other classes."""
        return replace(self.images.select(rows), also="\n".join(classes).encode())

    def unknown(self, row: int, label: str, classes: Sequence[str], whose: str) -> ConvsmithError:
        """The error for a row with a label that is none of the classes."""
        what = f"has the label `{printable(label)}`, which {whose} lacks{did_you_mean(label, classes)}"
        return self.error(row, what, f"its classes are {quoted(classes)}", "Correct the label, or leave the row out.")

    def error(self, row: int, what: str, why: str = "", fix: str = "") -> ConvsmithError:
        """An error about a row, by its place."""
        return ConvsmithError(f"{self.table.at(int(self.images.rows[row]))} {what}", why, fix)


def read_table(table: Table, targets: Column, section: Data) -> ImageTable:
    """Read all rows, of which `targets` takes what it collects.

    Raises:
        ConvsmithError: a column is missing, or a row or the table cannot be used; it names the row.
    """
    first, named = table.first(), section.columns or Columns()
    if not first:
        raise ConvsmithError(f"{printable(table.path)} has no rows", "", "Give a table with a row for each image.")
    splits = _Splits(named)
    used = dict.fromkeys(splits.find(table, first))
    pictures = table.pictures("image", named.names("image", PATH), section)
    groups, weights = GroupColumn(named), WeightColumn(named)
    columns: list[Column] = [pictures, groups, weights, targets]
    used |= dict.fromkeys(it for one in columns for it in one.find(table, first))
    others = [str(name) for name in first if name is not None and name not in used and name.strip()]
    notes = [*table.notes]
    if others:
        notes.append(f"left out, columns of {table.path.name} that are not used: {quoted(others)}")
    rows = array("q")
    for batch in table.batches([*used]):
        add_batch(table, batch, [*columns, splits])
        rows.extend(batch.numbers)
    numbers = np.asarray(rows, np.int64)
    images = TableContents(pictures.build(numbers), numbers, table, weights.build(), groups.build())
    return ImageTable(table, images, np.asarray(splits.of_rows, np.int8), tuple(notes))


class _Splits:
    """Collects the split of each row, as a `Column`."""

    def __init__(self, named: Columns) -> None:
        self._named = named
        self._column: str | None = None
        self._seen: dict[str, int] = {}  # by what stands in the cell
        self.of_rows = array("b")

    def find(self, table: Table, row: Row) -> Sequence[str]:
        self._column = find_named(table, row, self._named.names("split", SPLIT), self._named.split)
        return [self._column] if self._column else []

    def add_all(self, batch: RowBatch) -> bool:
        if self._column is None:
            self.of_rows.extend(WHOLE for _ in batch.numbers)
            return True
        try:
            self.of_rows.extend([self._seen[cell] for cell in batch.columns[self._column]])
        except (KeyError, TypeError):
            return False
        return True

    def add(self, table: Table, number: int, row: Row) -> None:
        assert self._column is not None
        split = _split_of(table, number, cell_of(table, number, row, self._column))
        self._seen[str(row[self._column])] = split
        self.of_rows.append(split)


def _split_of(table: Table, number: int, name: str) -> int:
    if (part := PARTS.get(name.casefold())) is None:
        raise ConvsmithError(
            f"{table.at(number)} has the split `{printable(name)}`",
            f"known are {quoted(PARTS)}",
            "Correct it, or leave the row out.",
        )
    return _NUMBERS[part]


def check_files(table: ImageTable, contents: TableContents, section: Data) -> None:
    """Refuse files that are named twice, and those that are not there unless bad ones are skipped."""
    if contents is table.images:
        _refuse_images_named_twice(table)
    if isinstance(contents.items, Files):
        note_places(contents.items.folders())
    missing = np.flatnonzero(~contents.stats.any(axis=1))
    if missing.size and section.on_error != "skip":
        raise ConvsmithError(
            f"{len(missing)} of {counted(len(contents), 'file')} that {printable(table.table.path)} names are missing, "
            f"such as {printable(contents[int(missing[0])].name)}",
            "paths are relative to the folder of the table, or to data.root; where there are none such, images are "
            "sought in the folders beside it",
            "Correct the paths, with / between folders, or leave the rows out.",
        )


def _refuse_images_named_twice(table: ImageTable) -> None:
    order = np.argsort(table.names, kind="stable")
    names = table.names[order]
    if (twice := np.flatnonzero(names[1:] == names[:-1])).size:
        first, second = sorted((int(order[twice[0]]), int(order[twice[0] + 1])))
        other = table.table.at(int(table.images.rows[first]))
        raise table.error(second, f"names the same image as {other}", "", "Leave one of the rows out.")
