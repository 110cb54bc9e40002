"""The formats of annotations that are known, and which of them lies at a path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from convsmith.data.polygons import coco, cvat, labelme, yolo
from convsmith.data.polygons.found import Found
from convsmith.data.polygons.outlines import Outlines
from convsmith.errors import ConvsmithError


class OutlineFormat(NamedTuple):
    """How one format is found at a path, and read."""

    find: Callable[[Path], Found | None]
    read: Callable[[Found, str | None], Outlines]


_FORMATS = tuple(OutlineFormat(it.find, it.read) for it in (yolo, coco, cvat, labelme))


def find_format(path: Path) -> tuple[OutlineFormat, Found] | None:
    """The format of the annotations at a path, and the files; None where there are none."""
    if not path.is_file() and not path.is_dir():
        return None
    for one in _FORMATS:
        try:
            if found := one.find(path):
                return one, found
        except (OSError, ConvsmithError):  # who opens it says what is wrong
            return None
    return None
