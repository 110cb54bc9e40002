"""Folders inside class folders: parts of a data set lie the wrong way round, or classes would pass for one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from convsmith.data.folders.layout import HELD_OUT_LIKE, SPLIT_LIKE, TRAIN_LIKE
from convsmith.errors import ConvsmithError, printable, quoted

_SHOWN = 3  # names in a note


@dataclass(frozen=True)
class Inside:
    """The images below one class folder.

    Attributes:
        folders: names of the folders in it that hold images, at any depth, sorted.
        is_flat: whether images lie in it directly.
    """

    folders: tuple[str, ...]
    is_flat: bool


def inside_of(folder: str, names: Sequence[bytes]) -> Inside:
    """Count the images of a class folder by their paths, relative to the data folder like `folder`.

    A folder in it that is the only one and holds further folders is passed through.
    """
    above = os.fsencode(folder) + b"/"
    if b"".join(names).count(b"/") == above.count(b"/") * len(names):  # the usual case, and quick to see
        return Inside((), bool(names))
    start = len(above)
    heads = {name[start:].rpartition(b"/")[0].partition(b"/") for name in names}
    folders = sorted({os.fsdecode(head) for head, _, _ in heads if head})
    is_flat = any(not head for head, _, _ in heads)
    if len(folders) == 1 and not is_flat and all(rest for _, _, rest in heads) and folders[0] not in SPLIT_LIKE:
        return inside_of(f"{folder}/{folders[0]}", names)
    return Inside(tuple(folders), is_flat)


def check_nesting(root: Path, classes: Mapping[str, Inside]) -> list[str]:
    """Notes about classes that hold folders of their own.

    Raises:
        ConvsmithError: those are parts of a data set, or the classes themselves are.
    """
    for label, inside in classes.items():
        if _are_splits(inside.folders):
            raise ConvsmithError(
                f"the class folder `{label}` in {printable(root)} holds {quoted(inside.folders, _SHOWN)}",
                "these are parts of a data set, which would be mixed and split anew",
                f"Put the parts outside and the classes inside: train/{label}, val/{label}.",
            )
    same = {label: inside.folders for label, inside in classes.items() if len(inside.folders) > 1}
    for label, folders in same.items():
        alike = [other for other, theirs in same.items() if len(set(folders) & set(theirs)) > 1]
        if len(alike) > 1 and _sounds_like_a_split(label):
            raise _parts_as_classes(root, alike, f"each of them holds {quoted(folders, _SHOWN)}")
    if len(classes) > 1 and all(map(_sounds_like_a_split, classes)):
        raise _parts_as_classes(root, list(classes), "their names say so")
    deep = {
        label: inside.folders for label, inside in classes.items() if len(inside.folders) > 1 and not inside.is_flat
    }
    if len(deep) > 1 and len(set(deep.values())) == 1 and len(deep) == len(classes):
        folders = next(iter(deep.values()))
        return [
            f"each of the classes {quoted(deep, _SHOWN)} holds {quoted(folders, _SHOWN)}: if those are the classes, "
            "they have to be the outer folders"
        ]
    notes = [
        f"`{printable(label)}` is one class, of all images in its folders {quoted(folders, _SHOWN)}"
        for label, folders in list(deep.items())[:_SHOWN]
    ]
    if len(deep) > _SHOWN:
        notes.append(f"and so are {len(deep) - _SHOWN} other classes, of the images in theirs")
    return notes


def _parts_as_classes(root: Path, labels: list[str], why: str) -> ConvsmithError:
    return ConvsmithError(
        f"{quoted(labels, _SHOWN)} in {printable(root)} look like parts of a data set, not classes",
        why,
        "Rename the folder of training images to train, that of validation images to val, and move others out; each of "
        "them holds a folder for each class.",
    )


def _are_splits(folders: tuple[str, ...]) -> bool:
    names = {name.casefold() for name in folders}
    mixed = names & TRAIN_LIKE and names & HELD_OUT_LIKE
    return bool(names) and (bool(mixed) or names <= SPLIT_LIKE)


def _sounds_like_a_split(label: str) -> bool:
    """Such as training_set, seg_test, Train1, fold_2."""
    words = re.split(r"[\W\d_]+", label.casefold())
    return bool((SPLIT_LIKE | {"fold", "split"}) & set(words))
