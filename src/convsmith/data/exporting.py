"""Packing and converting alike: a folder that is new, a line for each class, files called as those they come from."""

from __future__ import annotations

import re
from pathlib import Path

from convsmith.data.classes import CLASSES_FILE
from convsmith.data.dataset import DataSet
from convsmith.data.folders.outputs import refuse_output_in_data
from convsmith.errors import ConvsmithError, printable

_ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif", "HEIF": "heic"}  # others are called as their format
_STEM = re.compile(r"([^/\\]+?)(?:\.\w+)?(?: \((?:line|row) [^()]*\))?")  # of the name that messages have for an image


def text_of_classes(dataset: DataSet, out: Path) -> str:
    """The content of a `classes.txt` for a data set that is written to `out`.

    Raises:
        ConvsmithError: `out` holds something, or lies among the data; or a class cannot be a line of its own.
    """
    refuse_output_in_data(out, dataset.root)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConvsmithError(f"{printable(out)} is not empty", "", "Choose another folder, or remove it.")
    names = "".join(f"{name}\n" for name in dataset.classes)
    if names.splitlines() != [name.strip() for name in dataset.classes]:
        raise ConvsmithError(
            f"a class of {printable(dataset.root)} has a name of several lines, or with space around it",
            f"{CLASSES_FILE} has one line for each class",
            "Rename it.",
        )
    return names


def stem_of(name: str) -> str:
    """The name of an image's file without folders and ending, by the name that messages have for the image."""
    match = _STEM.fullmatch(re.split(r"[/\\]", name)[-1].rpartition(": ")[2])
    return match[1] if match else ""


def ending_of(kind: str | None) -> str:
    """The ending of files of a format, as Pillow calls it."""
    return _ENDINGS.get(kind or "", (kind or "").lower())
