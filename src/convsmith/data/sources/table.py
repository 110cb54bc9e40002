"""A table with a row for each image: CSV, TSV, JSON Lines or Parquet. The rules are in docs/data.md."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from convsmith.data.source import Source
from convsmith.data.tables.table_data import openers, task_of_row
from convsmith.data.tables.table_file import ENDINGS, TableFile
from convsmith.data.tables.unlabelled import images_of_table


def _recognises(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and path.is_file()


def _task_of(path: Path) -> str:
    return task_of_row(TableFile(path).first())


SOURCE = Source(
    _recognises,
    openers(TableFile, ("columns", "root")),
    task_of=_task_of,
    images=partial(images_of_table, TableFile),
)
