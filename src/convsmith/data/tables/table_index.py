"""The index of a table of very many images, kept as `open_kept` keeps it: checked by its file and the folders."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from convsmith.data.folders.scan import note_places
from convsmith.data.image_data import ImageData
from convsmith.data.kept_index import Finding, Packed, open_kept
from convsmith.data.packed_data import FoundPairs, Home, pack_images, pack_parts, unpack_images, unpack_parts
from convsmith.data.split import Share
from convsmith.data.tables.table_file import TableFile
from convsmith.data.tables.table_rows import Table
from convsmith.recipe.data import Data

T = TypeVar("T")


def keep_images(
    table: Table, task: str, section: Data, share: Share | None, read: Callable[[], ImageData]
) -> ImageData:
    """The images of a table, as `read` finds them; of very many in a file what was found before, unless it has changed.

    The file has not changed where its size and times are the same. That the images are there is known by the times of
    their folders; one that is a link, whose file has gone, is found when it is looked at.
    """
    return _keep(table, (task, section, share), read, (pack_images, unpack_images))


def keep_parts(table: Table, section: Data, share: Share | None, read: Callable[[], FoundPairs]) -> FoundPairs:
    """The images and masks of a table, likewise."""
    return _keep(table, ("segmentation", section, share), read, (pack_parts, unpack_parts))


def _keep(
    table: Table,
    settings: tuple[str, Data, Share | None],
    read: Callable[[], T],
    packing: tuple[Callable[[T], Packed | None], Callable[[Home, Packed], T]],
) -> T:
    if not isinstance(table, TableFile):
        return read()
    path, (task, section, share), (pack, unpack) = table.path.absolute(), settings, packing

    def noted() -> T:
        note_places([path])
        return read()

    home = Home(path.parent / (section.root or ""), table.root, table)
    said = section.model_dump_json(include={"columns", "root", "on_error"})
    return open_kept(path, f"{task} {share} {said}", Finding(noted, pack, partial(unpack, home)))
