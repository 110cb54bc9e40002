"""A data set of Hugging Face as a table, whose images are in its cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.data.hf.cells import Cells, Column
from convsmith.data.hf.find_hf import load
from convsmith.data.parts import ALL_PARTS
from convsmith.data.tables.image_table import PATH
from convsmith.data.tables.table_data import LABEL, MASK, task_of_row
from convsmith.data.tables.table_labels import LABELS
from convsmith.data.tables.table_rows import AT_ONCE, Kind, Row, RowBatch, Table, each_row, find_column
from convsmith.errors import ConvsmithError, printable, quoted
from convsmith.recipe.columns import Columns
from convsmith.recipe.data import Data

_SPLIT = "split"
_OF_MASKS = frozenset((*MASK, *LABEL, *LABELS, "masks", "seg", "gt"))  # names of columns, in lower case


@dataclass(frozen=True)
class HfTable:
    """A `Table` of data sets one after another, whose rows are numbered through all of them, from 0.

    Attributes:
        path: what was given.
        splits: what each is called, `""` where there is but one.
        parts: the data sets.
        notes: lines worth printing.
    """

    path: Path
    splits: tuple[str, ...]
    parts: tuple[Any, ...]
    notes: tuple[str, ...]

    @property
    def root(self) -> Path:
        """The folder that it is, or that it lies in."""
        path = self.path.absolute()
        return path.parent if path.is_file() else path

    def at(self, number: int) -> str:
        """The row of a number, counted in its split."""
        ends = np.cumsum([len(part) for part in self.parts])
        part = int(np.searchsorted(ends, number, side="right"))
        of_split = f" of the split `{self.splits[part]}`" if self.splits[part] else ""
        return f"row {number - int(ends[part]) + len(self.parts[part])}{of_split} of {printable(self.path)}"

    def name_item(self, name: str, number: int) -> str:
        """The cell of a column in a row."""
        return f"{name} in {self.at(number)}"

    def pictures(self, kind: Kind, names: Sequence[str], section: Data) -> CellColumn:
        """The images or masks in cells, of the column with one of these names, or of the only one that may be meant.

        Raises:
            ConvsmithError: there is none, or several may be meant.
        """
        images = self.image_columns()
        found = find_column(dict.fromkeys(images), names)
        if found is None and len(names) > 1:
            of_images = (section.columns or Columns()).names("image", PATH)
            image = find_column(dict.fromkeys(images), of_images) or _only(
                it for it in images if it.casefold() not in _OF_MASKS
            )
            found = image if kind == "image" else _only(it for it in images if it != image)
        if found is None:
            raise ConvsmithError(
                f"{printable(self.path)} has no column `{printable(names[0])}` of images",
                f"columns of images are {quoted(images)}" if images else "no column holds images",
                f"Name one by data.columns.{kind}." if images else "Give a data set of images.",
            )
        return CellColumn(found, self)

    def has_label(self) -> bool:
        """Whether a column names classes."""
        return find_column(dict.fromkeys(self._plain()), (*LABEL, *LABELS)) is not None

    def first(self) -> Row:
        """The first row; of images only that they are there."""
        row = next((row for _, row in each_row(self, self._plain())), None)
        return {} if row is None else {**dict.fromkeys(self.image_columns()), **row}

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """All rows, some at a time; of their columns those that are not images."""
        first = 0
        for split, part in zip(self.splits, self.parts, strict=True):
            wanted = [column for column in columns if column in part.column_names and column in self._plain()]
            plain = iter(part.select_columns(wanted).with_format("arrow").iter(AT_ONCE)) if wanted else None
            for start in range(first, first + len(part), AT_ONCE):
                numbers = range(start, min(start + AT_ONCE, first + len(part)))
                cells = {} if plain is None else next(plain).to_pydict()
                found = {name: [_named(part.features[name], it) for it in several] for name, several in cells.items()}
                nothing = dict.fromkeys(columns, [None] * len(numbers))
                yield RowBatch(numbers, nothing | found | ({_SPLIT: [split] * len(numbers)} if split else {}))
            first += len(part)

    def image_columns(self) -> list[str]:
        """The columns that hold images."""
        return [name for name, feature in self.parts[0].features.items() if _is_image(feature)]

    def _plain(self) -> list[str]:
        """The columns that hold text, numbers, classes, or lists of them."""
        return [name for name, feature in self.parts[0].features.items() if _is_plain(feature)]

    def column(self, name: str) -> Column:
        """The images in a column, undecoded."""
        import datasets

        undecoded = datasets.Image(decode=False)
        parts = tuple(part.select_columns([name]).cast_column(name, undecoded) for part in self.parts)
        return Column(name, parts, self.splits)


class CellColumn:
    """Takes a column of images, or of masks, as `Pictures`; it is found by its name, or as the only one that may be it.

    Args:
        column: the column.
        table: the table.
    """

    def __init__(self, column: str, table: HfTable) -> None:
        self._column, self._table = column, table

    def find(self, table: Table, row: Row) -> Sequence[str]:  # noqa: ARG002 - a `Column`
        """The column."""
        return [self._column]

    def add_all(self, batch: RowBatch) -> bool:  # noqa: ARG002 - a `Column`
        """Nothing: all cells are taken."""
        return True

    def add(self, table: Table, number: int, row: Row) -> None:
        """Nothing: all cells are taken."""

    def build(self, rows: NDArray[np.int64]) -> Cells:
        """The images of all rows."""
        return Cells(self._table.column(self._column), rows)


def open_hf(path: Path) -> HfTable:
    """The data set of a path as a table. ConvsmithError if it cannot be opened, or has nothing to train on."""
    parts, left_out = load(path)
    there = [part for part in (*ALL_PARTS, None) if part in parts]
    alone = len(there) == 1 and there[0] in ("train", None)
    names = ("",) if alone else tuple(part or "" for part in there)
    notes = [f"left out, splits of {path.name} that are not used: {quoted(left_out)}"] if left_out else []
    notes += _unused_classes(parts["train" if "train" in parts else there[0]])
    return HfTable(path, names, tuple(parts[part] for part in there), tuple(notes))


def _unused_classes(part: Any) -> Iterator[str]:
    """A line for each column that names classes of which the rows have none, so that the model will not know them."""
    import datasets

    for column, feature in part.features.items():
        if isinstance(feature, datasets.ClassLabel):
            used = set(part.unique(column))
            if missing := [name for number, name in enumerate(feature.names) if number not in used]:
                yield f"left out, classes of `{printable(column)}` without a row to train on: {quoted(missing)}"


def task_of_hf(path: Path) -> str:
    """The task that the data set at a path is for: segmentation, where there are two images in a row and no label."""
    table = open_hf(path)
    task = task_of_row({name: value for name, value in table.first().items() if name not in table.image_columns()})
    return "segmentation" if len(table.image_columns()) > 1 and not table.has_label() else task


def _only(names: Iterable[str]) -> str | None:
    """The only name; None where there are more, or none."""
    found = [*names]
    return found[0] if len(found) == 1 else None


def _is_image(feature: Any) -> bool:
    import datasets

    if isinstance(feature, dict):  # what `Image` is in a file that does not say so
        return set(feature) == {"bytes", "path"} and str(getattr(feature["bytes"], "dtype", "")).endswith("binary")
    of_bytes = isinstance(feature, datasets.Value) and feature.dtype.endswith("binary")
    return of_bytes or isinstance(feature, datasets.Image)


def _is_plain(feature: Any) -> bool:
    import datasets

    if isinstance(feature, datasets.List | datasets.LargeList):
        return _is_plain(feature.feature) and not getattr(feature.feature, "dtype", "").startswith("float")
    return isinstance(feature, datasets.ClassLabel | datasets.Value) and not feature.dtype.endswith("binary")


def _named(feature: Any, value: Any) -> Any:
    """A value, or those of a list, by the names of classes where it has some; None for -1, which names none."""
    import datasets

    if isinstance(value, list):
        return [_named(feature.feature, it) for it in value]
    if not isinstance(feature, datasets.ClassLabel) or value is None:
        return value
    return feature.names[value] if 0 <= value < len(feature.names) else None
