"""Labels and groups in the names of files, by a regular expression of the recipe. The rules are in docs/data.md."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from convsmith.data.folders.files import Files, FilesBuilder
from convsmith.data.folders.scan import images_below, list_folder, others_note
from convsmith.data.group_split import Groups
from convsmith.data.image_data import ImageData
from convsmith.data.index import Index
from convsmith.data.masks.mask_data import MaskData
from convsmith.data.parts import ALL_PARTS, Part, part_to_judge, val_folder
from convsmith.data.split import Share, hold_out
from convsmith.errors import ConvsmithError, counted, did_you_mean, printable, quoted

DataT = TypeVar("DataT", ImageData, MaskData)


def says(pattern: str | None, group: str) -> bool:
    """Whether a pattern has a named group."""
    return pattern is not None and group in re.compile(pattern).groupindex


def open_labelled_by_name(root: Path, pattern: str, share: Share | None) -> ImageData:
    """Read the images of a folder, at any depth, whose names say their classes.

    Args:
        root: a folder of images; or with `train`, and it may be `val`, of such.
        pattern: finds the `label`, and it may be the `group`, in the path of an image below its part.
        share: what is held out where there is no `val`.

    Raises:
        ConvsmithError: there are no images, or some do not match; or there is one class only.
    """
    root, others = root.absolute(), Counter[str]()
    parts = _parts(root)
    train = _files(root, parts.get("train", ""), others)
    val = _files(root, parts["val"], others) if "val" in parts else None
    labels = _found(train, parts.get("train", ""), pattern, "label")
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise ConvsmithError(
            f"data.pattern finds one class only in {printable(root)}: {quoted(classes)}",
            "there is nothing to tell apart",
        )
    notes = [others_note(others)] if others else []
    if "test" in parts:
        notes.append(f"left out, beside train in {printable(root)}: `test`")
    nothing = Index(train.select([]), np.zeros(0, np.int64))
    learned = Index(train, _targets(train, labels, classes, "training"))
    judged = nothing
    if val is not None:
        judged = Index(val, _targets(val, _found(val, parts["val"], pattern, "label"), classes, "training"))
    data = ImageData(root, tuple(classes), learned, judged, tuple(notes))
    return hold_out_groups(data, pattern, share, parts.get("train", ""))


def judge_by_name(root: Path, pattern: str, classes: Sequence[str], wanted: Part | None) -> tuple[Index, bool]:
    """The images of a part, see `part_to_judge`, or all, whose names say their classes."""
    root = root.absolute()
    parts = _parts(root)
    part = part_to_judge(root, wanted, parts)
    folder = "" if part is None else parts[part]
    files = _files(root, folder, Counter())
    return Index(
        files, _targets(files, _found(files, folder, pattern, "label"), classes, "the model")
    ), part is not None


def hold_out_groups(data: DataT, pattern: str | None, share: Share | None, folder: str = "") -> DataT:
    """The data with a share of their training images for validation, whole groups where the pattern finds some.

    Args:
        data: opened without holding out anything.
        pattern: see `open_labelled_by_name`.
        share: what is held out where there are no images for validation.
        folder: what the paths of training images begin with, which the pattern does not see.
    """
    if len(data.val):
        return data
    files = data.train.images
    assert isinstance(files, Files)
    if says(pattern, "group"):
        assert pattern is not None
        numbers: dict[str, int] = {}
        of = [numbers.setdefault(name, len(numbers)) for name in _found(files, folder, pattern, "group")]
        files.groups = Groups(np.array(of, np.int64), list(numbers))
    if share is None:
        return data
    groups = files.groups
    held_out = hold_out(files.names, data.train.targets, share, groups=groups)
    if not held_out.any():
        raise ConvsmithError(f"no images left for validation in {printable(data.root)}", "none could be spared")
    whole = "" if groups is None else f", {groups.select(np.flatnonzero(held_out)).count()} whole groups,"
    note = f"held out {held_out.sum()} of {len(files)} images{whole} for validation, the same ones each time"
    return replace(
        data,
        train=data.train.select(np.flatnonzero(~held_out)),
        val=data.train.select(np.flatnonzero(held_out)),
        notes=(*data.notes, note),
    )


def _parts(root: Path) -> dict[Part, str]:
    """The folders of parts; none where all images are one."""
    names = list_folder(root).folders
    called = {"train": "train", "val": val_folder(root, names) or "val", "test": "test"}
    return {part: called[part] for part in ALL_PARTS if called[part] in names} if "train" in names else {}


def _files(root: Path, folder: str, others: Counter[str]) -> Files:
    """The images in a folder below the root, or in the root, sorted by the bytes of their path."""
    files, prefix = FilesBuilder(root), b"" if folder else root.name.encode("utf-8", "surrogateescape") + b"/"
    above, inside = (root, folder) if folder else (root.parent, root.name)
    for name in images_below(above, inside, others):
        files.add(name.removeprefix(prefix))
    found = files.build()
    if not len(found):
        raise ConvsmithError(f"no images in {printable(root / folder)}", "", "Check the path of the data.")
    return found


def _found(files: Files, folder: str, pattern: str, group: str) -> list[str]:
    """The text of a named group in the path of each file below a folder."""
    expression, skipped = re.compile(pattern), len(f"{folder}/") if folder else 0
    found, without = [], []
    for i in range(len(files)):
        path = files.relative(i).decode("utf-8", "replace")[skipped:]
        match = expression.search(path)
        text = match[group] if match else None
        if text:
            found.append(unicodedata.normalize("NFC", text))
        else:
            without.append(path)
    if without:
        raise ConvsmithError(
            f"{len(without)} of {counted(len(files), 'image')} in {printable(files.root / folder)} have no `{group}` "
            f"by data.pattern: {quoted(without)}",
            f"it is sought anywhere in the path: {pattern}",
            "Correct it, or move these images elsewhere.",
        )
    return found


def _targets(files: Files, labels: Sequence[str], classes: Sequence[str], whose: str) -> NDArray[np.int64]:
    place = {label: i for i, label in enumerate(classes)}
    for i, label in enumerate(labels):
        if label not in place:
            raise ConvsmithError(
                f"{printable(files.path(i))} has the label `{printable(label)}`, which {whose} lacks"
                + did_you_mean(label, classes),
                f"its classes are {quoted(classes)}",
                "Correct the pattern, or move the image elsewhere.",
            )
    return np.array([place[label] for label in labels], np.int64)
