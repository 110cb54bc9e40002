"""The images of a table alone, whatever else its rows say: labels, splits and groups may lack, or be wrong."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.data.contents import Contents
from convsmith.data.folders.files import Files
from convsmith.data.tables.image_table import PATH
from convsmith.data.tables.table_contents import TableContents
from convsmith.data.tables.table_rows import Row, Table, add_batch, find_column
from convsmith.errors import ConvsmithError, printable
from convsmith.recipe.columns import Columns
from convsmith.recipe.data import Data


def images_of_table(open_table: Callable[[Path], Table], path: Path, section: Data) -> Contents:
    """The image of each row, in the order of the rows; an image may be named twice, or not be there.

    They are in the column that the section names, where there is one, or one of a usual name, or the only one.

    Args:
        open_table: opens the table at a path.
        path: where it is.
        section: a recipe's `data`; `columns.image` and `root` count as far as they are here.

    Raises:
        ConvsmithError: it cannot be read, has no rows, no such column, or a row without an image.
    """
    table = open_table(path)
    first = table.first()
    if not first:
        raise ConvsmithError(f"{printable(path)} has no rows", "", "Give a table with a row for each image.")
    has_root = section.root is not None and (path.absolute().parent / section.root).is_dir()
    found = section if has_root else section.model_copy(update={"root": None})
    pictures = table.pictures("image", _names(first, section.columns or Columns()), found)
    rows = array("q")
    for batch in table.batches(pictures.find(table, first)):
        add_batch(table, batch, [pictures])
        rows.extend(batch.numbers)
    numbers = np.asarray(rows, np.int64)
    images = pictures.build(numbers)
    return images if isinstance(images, Files) else TableContents(images, numbers, table)  # a cell is named by its row


def _names(first: Row, named: Columns) -> Sequence[str]:
    """The names that the column of images may have."""
    if named.image is not None and find_column(first, (named.image,)):
        return (named.image,)
    names = [name for name in first if name is not None]
    is_header = len(names) == 1 and Path(names[0]).suffix.lower() not in IMAGE_SUFFIXES  # else the first image
    return names if is_header else PATH
