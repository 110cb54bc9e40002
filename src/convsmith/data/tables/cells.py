"""The cells of a table beside the samples that were made of its rows."""

from __future__ import annotations

import json
from typing import Any

from convsmith.data.dataset import Samples
from convsmith.data.tables.table_contents import TableContents
from convsmith.data.tables.table_rows import each_row, require_column
from convsmith.errors import ConvsmithError


def check_column(samples: Samples, column: str) -> None:
    """Raise a ConvsmithError unless the samples are rows of a table that has this column."""
    _column_of(_images_of(samples, column), column)


def cells_of(samples: Samples, column: str) -> list[str | None]:
    """The cell of each sample in a column, as text; None where it is empty.

    Raises:
        ConvsmithError: the samples are not rows of a table, or it has no such column.
    """
    images = _images_of(samples, column)
    name = _column_of(images, column)
    rows = images.rows.tolist()
    wanted = set(rows)
    cells = {number: _text(row.get(name)) for number, row in each_row(images.table, [name]) if number in wanted}
    return [cells.get(number) for number in rows]


def _images_of(samples: Samples, column: str) -> TableContents:
    images = getattr(samples, "images", None)
    if not isinstance(images, TableContents):
        raise ConvsmithError(
            f"there is no column `{column}`",
            "the images are not those of a table",
            "Give a table with a row for each image.",
        )
    return images


def _column_of(images: TableContents, column: str) -> str:
    return require_column(images.table, images.table.first(), (column,))


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return value.strip() or None if isinstance(value, str) else json.dumps(value, default=str)
