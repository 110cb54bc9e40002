"""A table with a row for each image: CSV, TSV or JSON Lines. The rules are in docs/data.md."""

from __future__ import annotations

import os
import unicodedata
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.data.classes import require_classes
from convsmith.data.contents import Content
from convsmith.data.dataset import DataSet, Samples, Split
from convsmith.data.files import Files, FilesBuilder
from convsmith.data.image_data import ImageData
from convsmith.data.index import Index
from convsmith.data.mask_contents import refuse_ignored_class
from convsmith.data.mask_data import MaskedPart, class_values, make_mask_data
from convsmith.data.source import Opener, Source
from convsmith.data.split import hold_out
from convsmith.data.table_rows import ENDINGS, cell_of, find_column, read_rows, require_column
from convsmith.errors import ConvsmithError, counted, did_you_mean, printable, quoted
from convsmith.recipe.mask_data import Masks
from convsmith.recipe.schema import Data

_PATH = ("image", "path", "file_name", "filename", "image_path", "filepath", "file")
_LABEL = ("label", "class", "target", "class_name", "category")
_MASK = ("mask", "mask_path", "segmentation", "annotation")
_SPLIT = ("split", "part", "subset")
_WHOLE, _TRAIN, _VAL, _TEST = range(4)  # of a row: no column says its split, or it is of that one
_SPLITS = {"train": _TRAIN, "training": _TRAIN, "val": _VAL, "valid": _VAL, "validation": _VAL, "test": _TEST}


@dataclass(frozen=True)
class Rows:
    """The `Contents` of files that rows of a table name.

    Attributes:
        files: the files.
        lines: where the row of each ends in the table, int64 `[N]`, from 1.
        table: what the table is called.
        also: what else tells the rows of this table from those of others.
    """

    files: Files
    lines: NDArray[np.int64]
    table: str
    also: bytes = b""

    shards: None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Content:
        file = self.files[i]
        return Content(f"{file.name} (line {self.lines[i]} of {self.table})", file.open)

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
        return Rows(self.files.select(chosen), self.lines[chosen], self.table, self.also)


@dataclass(frozen=True)
class _Table:
    """The images of a table, and what its columns say of them.

    Attributes:
        path: of the table.
        images: their files, in the order of the rows.
        splits: the split of each, int8 `[N]`.
        notes: lines worth printing.
    """

    path: Path
    images: Rows
    splits: NDArray[np.int8]
    notes: tuple[str, ...]

    def at(self, *splits: int) -> NDArray[np.int64]:
        """The numbers of the rows of some splits."""
        return np.flatnonzero(np.isin(self.splits, splits))

    def parts(self, groups: NDArray[np.int64], val_fraction: float | None) -> tuple[dict[Split, Any], list[str]]:
        """The numbers of the rows to train on and to validate on, and notes.

        Args:
            groups: what has to be in both where some is held out, such as the class of each row.
            val_fraction: see `Opener.open`.
        """
        train, val, notes = self.at(_WHOLE, _TRAIN), self.at(_VAL), list(self.notes)
        if not len(train):
            raise ConvsmithError(
                f"{printable(self.path)} has no row to train on", "", "Give some rows the split `train`."
            )
        if tests := len(self.at(_TEST)):
            notes.append(f"left out: {counted(tests, 'row')} of the split `test`")
        if not len(val) and val_fraction is not None:
            total, held_out = len(train), hold_out(self.images.names[train], groups[train], val_fraction)
            train, val = train[~held_out], train[held_out]
            if not len(val):
                raise ConvsmithError(
                    f"no images left for validation in {printable(self.path)}",
                    "there is one image of each class only",
                    "Add rows, or give some the split `val`.",
                )
            notes.append(
                f"no rows of the split `val`: held out {len(val)} of {total} images for validation, the same each time"
            )
        return {"train": train, "val": val}, notes

    def judged(self) -> tuple[NDArray[np.int64], bool]:
        """The numbers of the rows to judge a model by, and whether they are of `val`, or else of `test`; else all."""
        part = next((rows for split in (_VAL, _TEST) if len(rows := self.at(split))), None)
        return (self.at(_WHOLE, _TRAIN), False) if part is None else (part, True)

    def error(self, row: int, what: str, why: str = "", fix: str = "") -> ConvsmithError:
        """An error about a row, by its number."""
        return ConvsmithError(f"line {self.images.lines[row]} of {printable(self.path)} {what}", why, fix)


class _Labels:
    """Collects the label of each row."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.of_rows = array("q")

    def add(self, label: str) -> None:
        self.of_rows.append(self.numbers.setdefault(unicodedata.normalize("NFC", label), len(self.numbers)))

    def targets(self, table: _Table, rows: NDArray[np.int64], classes: Sequence[str], whose: str) -> Index:
        """The images at `rows`, with the position of the label of each among the classes."""
        place = {label: i for i, label in enumerate(classes)}
        numbers = np.array([place.get(label, -1) for label in self.numbers], np.int64)
        targets = numbers[np.asarray(self.of_rows, np.int64)[rows]]
        if (unknown := rows[targets < 0]).size:
            label = list(self.numbers)[self.of_rows[unknown[0]]]
            raise table.error(
                int(unknown[0]),
                f"has the label `{printable(label)}`, which {whose} lacks{did_you_mean(label, classes)}",
                f"its classes are {quoted(classes)}",
                "Correct the label, or leave the row out.",
            )
        images = table.images.select(rows)
        return Index(Rows(images.files, images.lines, images.table, "\n".join(classes).encode()), targets)


def _open_images(path: Path, section: Data, val_fraction: float | None) -> DataSet:
    labels = _Labels()
    table = _read(path, _LABEL, labels.add)
    _check_files(table, table.images, section)
    of_rows, names = np.asarray(labels.of_rows, np.int64), list(labels.numbers)
    parts, notes = table.parts(of_rows, val_fraction)
    learned = table.at(_WHOLE, _TRAIN)
    classes = sorted(names[i] for i in np.unique(of_rows[learned]))
    if len(classes) == 1:
        raise ConvsmithError(
            f"only one class in {printable(path)}: {quoted(classes)}", "there is nothing to tell apart"
        )
    train, val = (labels.targets(table, parts[split], classes, "training") for split in ("train", "val"))
    if val_fraction is not None and (without := set(range(len(classes))) - set(val.targets.tolist())):
        notes.append(f"no validation images for {quoted(classes[i] for i in sorted(without))}")
    return ImageData(path.absolute().parent, tuple(classes), train, val, tuple(notes))


def _labelled_images(path: Path, section: Data, classes: Sequence[str]) -> tuple[Samples, bool]:
    labels = _Labels()
    table = _read(path, _LABEL, labels.add)
    _check_files(table, table.images, section)
    rows, is_part = table.judged()
    return labels.targets(table, rows, classes, "the model"), is_part


def _open_masks(path: Path, section: Data, val_fraction: float | None) -> DataSet:
    table, masks = _read_masks(path, section)
    parts, notes = table.parts(np.zeros(len(table.images), np.int64), val_fraction)
    keys = section.masks or Masks()
    pairs: dict[Split, MaskedPart] = {it: (table.images.select(rows), masks.select(rows)) for it, rows in parts.items()}
    dataset = make_mask_data(path.absolute().parent, keys, pairs, notes)
    refuse_ignored_class(keys, class_values(keys, len(dataset.classes)), dataset.train.masks)
    return dataset


def _labelled_masks(path: Path, section: Data, classes: Sequence[str]) -> tuple[Samples, bool]:
    table, masks = _read_masks(path, section)
    rows, is_part = table.judged()
    pairs: dict[Split, MaskedPart] = {"train": (table.images.select(rows), masks.select(rows))}
    pairs["val"] = pairs["train"]
    dataset = make_mask_data(path.absolute().parent, section.masks or Masks(), pairs, ())
    require_classes(path, dataset.classes, classes)
    return dataset.train, is_part


def _read_masks(path: Path, section: Data) -> tuple[_Table, Rows]:
    builder = FilesBuilder(path.absolute().parent)
    table = _read(path, _MASK, lambda name: builder.add(_as_path(name)))
    masks = Rows(builder.build(), table.images.lines, table.images.table)
    for files in (table.images, masks):
        _check_files(table, files, section)
    return table, masks


def _read(path: Path, targets: Sequence[str], add: Callable[[str], None]) -> _Table:
    """Read all rows; the cell of the first column of `targets` that there is goes to `add`.

    Raises:
        ConvsmithError: a column is missing, or a row or the table cannot be used; it names the line.
    """
    files, lines, splits = FilesBuilder(path.absolute().parent), array("q"), array("b")
    columns: tuple[str, str, str | None] | None = None
    notes = []
    for line, row in read_rows(path):
        if columns is None:
            columns = (require_column(path, row, _PATH), require_column(path, row, targets), find_column(row, _SPLIT))
            others = [str(name) for name in row if name is not None and name not in columns and name.strip()]
            notes = [f"left out, columns of {path.name} that are not used: {quoted(others)}"] if others else []
        name, target, split = (cell_of(path, line, row, column) if column else "" for column in columns)
        if (known := _SPLITS.get(split.casefold()) if columns[2] else _WHOLE) is None:
            raise ConvsmithError(
                f"line {line} of {printable(path)} has the split `{printable(split)}`",
                f"known are {quoted(_SPLITS)}",
                "Correct it, or leave the row out.",
            )
        files.add(_as_path(name))
        add(target)
        lines.append(line)
        splits.append(known)
    if columns is None:
        raise ConvsmithError(f"{printable(path)} has no rows", "", "Give a table with a row for each image.")
    images = Rows(files.build(), np.asarray(lines, np.int64), printable(path.name))
    return _Table(path, images, np.asarray(splits, np.int8), tuple(notes))


def _check_files(table: _Table, rows: Rows, section: Data) -> None:
    """Refuse files that are named twice, and those that are not there unless bad ones are skipped."""
    order = np.argsort(rows.names, kind="stable")
    twice = np.flatnonzero(rows.names[order][1:] == rows.names[order][:-1])
    if twice.size and rows is table.images:
        first, second = sorted((int(order[twice[0]]), int(order[twice[0] + 1])))
        raise table.error(second, f"names the same image as line {rows.lines[first]}", "", "Leave one of the rows out.")
    missing = np.flatnonzero(~rows.stats.any(axis=1))
    if missing.size and section.on_error != "skip":
        i = int(missing[0])
        raise ConvsmithError(
            f"{len(missing)} of {counted(len(rows), 'file')} that {printable(table.path)} names are missing, such as "
            f"{printable(rows[i].name)}",
            "paths are relative to the folder of the table",
            "Correct the paths, with / between folders, or leave the rows out.",
        )


def _as_path(text: str) -> bytes:
    return os.fsencode(PurePath(text))  # without a ./ at its start


def _recognises(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and path.is_file()


def _task_of(path: Path) -> str:
    """Segmentation where there are masks and no labels."""
    _, row = next(read_rows(path), (0, {}))
    return "segmentation" if find_column(row, _MASK) and not find_column(row, _LABEL) else "classification"


SOURCE = Source(
    _recognises,
    {"classification": Opener(_open_images, _labelled_images), "segmentation": Opener(_open_masks, _labelled_masks)},
    task_of=_task_of,
)
