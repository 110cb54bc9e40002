"""The parts of a data set: what folders, files and columns call them, and which of them judges a model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from convsmith.errors import ConvsmithError, printable, quoted

Part = Literal["train", "val", "test"]

ALL_PARTS: tuple[Part, ...] = ("train", "val", "test")
VAL_NAMES = ("val", "valid", "validation")
PARTS: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(VAL_NAMES, "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The part by each of its names."""


def part_to_judge(where: Path, wanted: Part | None, there: Collection[Part]) -> Part | None:
    """The part that judges a model: the wanted one, or else `val`, or else `test`; None where all images do.

    Args:
        where: the data, as messages call them.
        wanted: the part that was named, if any.
        there: the parts that the data have.

    Raises:
        ConvsmithError: the wanted one is not there.
    """
    usual: tuple[Part, ...] = ("val", "test")
    if wanted is None:
        return next((part for part in usual if part in there), None)
    if wanted not in there:
        raise ConvsmithError(
            f"{printable(where)} has no images of the split `{wanted}`",
            f"it has {quoted(there)}" if there else "it has no splits",
            "Name another split, or leave it out.",
        )
    return wanted


def val_folder(root: Path, names: Collection[str]) -> str | None:
    """The one of some folders that holds images for validation, if any. ConvsmithError if two do."""
    found = [name for name in VAL_NAMES if name in names]
    if len(found) > 1:
        raise ConvsmithError(
            f"{printable(root)} has both {quoted(found)}", "either may be for validation", "Move one of them elsewhere."
        )
    return found[0] if found else None
