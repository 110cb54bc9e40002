"""The data of each task in a table, whatever holds it."""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.data.classes import require_classes
from convsmith.data.dataset import DataSet, Samples, Split
from convsmith.data.image_data import ImageData
from convsmith.data.index import Index
from convsmith.data.masks.mask_data import MaskedPart, make_mask_data, masks_to_learn
from convsmith.data.packed_data import FoundPairs
from convsmith.data.packed_labels import rows_to_keep
from convsmith.data.parts import Part
from convsmith.data.source import Opener
from convsmith.data.split import Share
from convsmith.data.tables.extra_columns import GROUP, WEIGHT
from convsmith.data.tables.image_table import PATH, SPLIT, TRAIN, WHOLE, ImageTable, check_files, read_table
from convsmith.data.tables.table_contents import TableContents
from convsmith.data.tables.table_index import keep_images, keep_parts
from convsmith.data.tables.table_labels import LABELS, LabelColumns, class_columns
from convsmith.data.tables.table_rows import Row, RowBatch, Table, cell_of, find_column, require_column
from convsmith.errors import ConvsmithError, counted, printable, quoted
from convsmith.recipe.columns import Columns
from convsmith.recipe.data import Data
from convsmith.recipe.mask_data import Masks

LABEL = ("label", "class", "target", "class_name", "category")
MASK = ("mask", "mask_path", "segmentation", "annotation")
_OTHERS = (*PATH, *LABEL, *MASK, *SPLIT, *GROUP, *WEIGHT)

OpenTable = Callable[[Path], Table]


def openers(open_table: OpenTable, keys: tuple[str, ...]) -> dict[str, Opener]:
    """How the data of each task are opened in tables; for the keys see `Opener`."""
    return {
        "classification": Opener(partial(_open_images, open_table), partial(_labelled_images, open_table), keys=keys),
        "multilabel": Opener(partial(_open_several, open_table), partial(_labelled_several, open_table), keys=keys),
        "segmentation": Opener(partial(_open_masks, open_table), partial(_labelled_masks, open_table), keys=keys),
    }


def task_of_row(row: Row) -> str:
    """Classification where there is a label, else segmentation where there are masks, or else several labels."""
    if not find_column(row, LABEL):
        if find_column(row, MASK):
            return "segmentation"
        if _has_several(row):
            return "multilabel"
    return "classification"


class _Labels:
    """Collects the label of each row, as a `Column`."""

    def __init__(self, named: Columns) -> None:
        self._names = named.names("label", LABEL)
        self.numbers: dict[str, int] = {}
        self._seen: dict[object, int] = {
            "": -1,
            None: -1,
        }  # by what stands in the cell
        self.of_rows = array("q")
        self._column = ""

    def find(self, table: Table, row: Row) -> Sequence[str]:
        if not find_column(row, self._names) and _has_several(row):
            raise ConvsmithError(
                f"{printable(table.path)} has several labels to an image",
                "the recipe's task is classification, one class for each",
                "Add task=multilabel, or give each image one `label`.",
            )
        self._column = require_column(table, row, self._names)
        return (self._column,)

    def add_all(self, batch: RowBatch) -> bool:
        try:
            self.of_rows.extend([self._seen[cell] for cell in batch.columns[self._column]])
        except (KeyError, TypeError):
            return False
        return True

    def add(self, table: Table, number: int, row: Row) -> None:
        cell = row.get(self._column)
        if cell in (None, ""):
            self.of_rows.append(-1)  # a test that is left out need not have one
            return
        if not isinstance(cell, str) or cell not in self._seen:
            label = unicodedata.normalize("NFC", cell_of(table, number, row, self._column))
            self._seen[str(cell)] = self.numbers.setdefault(label, len(self.numbers))
        self.of_rows.append(self._seen[str(cell)])

    def targets(self, table: ImageTable, rows: NDArray[np.int64], classes: Sequence[str], whose: str) -> Index:
        """The images at `rows`, with the position of the label of each among the classes."""
        self.require(table, rows)
        place = {label: i for i, label in enumerate(classes)}
        numbers = np.array([place.get(label, -1) for label in self.numbers], np.int64)
        targets = numbers[np.asarray(self.of_rows, np.int64)[rows]]
        if (unknown := rows[targets < 0]).size:
            label = list(self.numbers)[self.of_rows[unknown[0]]]
            raise table.unknown(int(unknown[0]), label, classes, whose)
        return Index(table.images_of(rows, classes), targets)

    def require(self, table: ImageTable, rows: NDArray[np.int64]) -> None:
        """Raise a ConvsmithError if one of the rows has no label."""
        if (without := rows[np.asarray(self.of_rows, np.int64)[rows] < 0]).size:
            what = f"has no `{printable(self._column)}`"
            raise table.error(int(without[0]), what, "", "Fill it in, or leave the row out.")


def _open_images(open_table: OpenTable, path: Path, section: Data, share: Share | None) -> DataSet:
    table = open_table(path)
    return keep_images(table, "classification", section, share, lambda: _find_images(table, section, share))


def _find_images(opened: Table, section: Data, share: Share | None) -> ImageData:
    labels, path = _Labels(section.columns or Columns()), opened.path
    table = read_table(opened, labels, section)
    check_files(table, table.images, section)
    labels.require(table, table.at(WHOLE, TRAIN))
    of_rows, names = np.asarray(labels.of_rows, np.int64), list(labels.numbers)
    parts, notes = table.parts(of_rows, share)
    learned = table.at(WHOLE, TRAIN)
    classes = sorted(names[i] for i in np.unique(of_rows[learned]))
    if len(classes) == 1:
        raise ConvsmithError(
            f"only one class in {printable(path)}: {quoted(classes)}", "there is nothing to tell apart"
        )
    train, val = (labels.targets(table, parts[split], classes, "training") for split in ("train", "val"))
    if share is not None and (without := set(range(len(classes))) - set(np.unique(val.targets).tolist())):
        notes.append(f"no validation images for {quoted(classes[i] for i in sorted(without))}")
    return ImageData(table.table.root, tuple(classes), train, val, tuple(notes))


def _labelled_images(
    open_table: OpenTable, path: Path, section: Data, classes: Sequence[str], part: Part | None
) -> tuple[Samples, bool]:
    labels = _Labels(section.columns or Columns())
    table = read_table(open_table(path), labels, section)
    check_files(table, table.images, section)
    rows, is_part = table.judged(part)
    return labels.targets(table, rows, classes, "the model"), is_part


def _open_several(open_table: OpenTable, path: Path, section: Data, share: Share | None) -> DataSet:
    table = open_table(path)
    return keep_images(table, "multilabel", section, share, lambda: _find_several(table, section, share))


def _find_several(opened: Table, section: Data, share: Share | None) -> ImageData:
    labels, path = LabelColumns(section.columns or Columns(), _OTHERS), opened.path
    table = read_table(opened, labels, section)
    check_files(table, table.images, section)
    every, learned = labels.pack(labels.names), table.at(WHOLE, TRAIN)
    _require_labels(table, labels, learned)
    counts = every.select(learned).counts()
    classes = labels.names if labels.of_classes else tuple(np.array(labels.names)[counts > 0].tolist())
    if len(classes) < 2:
        raise ConvsmithError(
            f"{printable(path)} has {counted(len(classes), 'label')}",
            "of several there are two at least",
            "For one that is there or not, name a column `label` that says which.",
        )
    if labels.of_classes and not counts.all():
        never = quoted(classes[k] for k in np.flatnonzero(counts == 0))
        raise ConvsmithError(
            f"{printable(path)} has no image to train on with {never}", "", "Add some, or leave the column out."
        )
    parts, notes = table.parts(
        every.rarest(counts),  # of whole sets most may occur once
        share,
        lambda train, val: rows_to_keep(every.select(train), every.select(val)),
    )
    train, val = (_several(table, labels, rows, (classes, "training")) for rows in parts.values())
    assert val.labels is not None
    if len(val) and (without := np.flatnonzero(val.labels.counts() == 0)).size:
        if len(without) == len(classes):
            raise ConvsmithError(
                f"no validation image of {printable(path)} has a label", "", "Give some that have the split `val`."
            )
        notes.append(f"no validation images for {quoted(classes[k] for k in without)}")
    return ImageData(table.table.root, classes, train, val, tuple(notes))


def _labelled_several(
    open_table: OpenTable, path: Path, section: Data, classes: Sequence[str], part: Part | None
) -> tuple[Samples, bool]:
    labels = LabelColumns(section.columns or Columns(), _OTHERS)
    table = read_table(open_table(path), labels, section)
    check_files(table, table.images, section)
    if labels.of_classes and (lacking := set(classes) - set(labels.names)):
        raise ConvsmithError(
            f"{printable(path)} has no column for {quoted(sorted(lacking))}",
            f"the model's classes are {quoted(classes)}",
        )
    rows, is_part = table.judged(part)
    return _several(table, labels, rows, (classes, "the model")), is_part


def _several(
    table: ImageTable, labels: LabelColumns, rows: NDArray[np.int64], known: tuple[Sequence[str], str]
) -> Index:
    """The images at `rows` with the labels of each; `known` are the classes, and whose they are."""
    classes, whose = known
    _require_labels(table, labels, rows)
    if (strange := labels.first_unknown(rows, classes)) is not None:
        raise table.unknown(*strange, classes, whose)
    chosen = labels.pack(classes).select(rows)
    return Index(table.images_of(rows, classes), chosen.hashes(), chosen)


def _require_labels(table: ImageTable, labels: LabelColumns, rows: NDArray[np.int64]) -> None:
    if (without := labels.first_without(rows)) is not None:
        fix = "Where an image has none of the labels, leave the cell empty, or write [] in JSON."
        raise table.error(without, f"has no `{printable(labels.column)}`", "", fix)


def _open_masks(open_table: OpenTable, path: Path, section: Data, share: Share | None) -> DataSet:
    table = open_table(path)
    pairs, notes = keep_parts(table, section, share, lambda: _find_masks(table, section, share))
    return masks_to_learn(table.root, section.masks or Masks(), pairs, notes)


def _find_masks(opened: Table, section: Data, share: Share | None) -> FoundPairs:
    table, masks = _read_masks(opened, section)
    parts, notes = table.parts(np.zeros(len(table.images), np.int64), share)
    return {it: (table.images.select(rows), masks.select(rows)) for it, rows in parts.items()}, notes


def _labelled_masks(
    open_table: OpenTable, path: Path, section: Data, classes: Sequence[str], part: Part | None
) -> tuple[Samples, bool]:
    table, masks = _read_masks(open_table(path), section)
    rows, is_part = table.judged(part)
    pairs: dict[Split, MaskedPart] = {"train": (table.images.select(rows), masks.select(rows))}
    pairs["val"] = pairs["train"]
    dataset = make_mask_data(table.table.root, section.masks or Masks(), pairs, ())
    require_classes(path, dataset.classes, classes)
    return dataset.train, is_part


def _read_masks(table: Table, section: Data) -> tuple[ImageTable, TableContents]:
    column = table.pictures("mask", (section.columns or Columns()).names("mask", MASK), section)
    found = read_table(table, column, section)
    masks = TableContents(column.build(found.images.rows), found.images.rows, table)
    for contents in (found.images, masks):
        check_files(found, contents, section)
    return found, masks


def _has_several(row: Row) -> bool:
    """Whether a row holds several labels."""
    return find_column(row, LABELS) is not None or len(class_columns(row, _OTHERS)) > 1
