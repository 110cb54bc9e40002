"""A folder of class folders as a data set. The rules are in docs/data.md."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.data.folders.class_files import ClassFiles, read_classes
from convsmith.data.folders.layout import class_folders, find_layout
from convsmith.data.folders.nesting import Inside, check_nesting
from convsmith.data.folders.remedies import remedy_for
from convsmith.data.folders.scan import held, leave_out_outputs, list_folder, others_note
from convsmith.data.image_data import ImageData
from convsmith.data.index import Index, IndexBuilder
from convsmith.data.parts import ALL_PARTS, Part, part_to_judge, val_folder
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError, did_you_mean, printable, quoted

logger = logging.getLogger(__name__)

_EVERY = 10.0  # seconds from one line of progress to the next


def open_image_folder(root: Path, share: Share | None, suffixes: Collection[str] = IMAGE_SUFFIXES) -> ImageData:
    """Read `ROOT/train/CLASS/**` and `ROOT/val/CLASS/**`, or split off the validation part where there is no val.

    Images are not opened here; `check_files` does that.

    Args:
        root: a folder with `train` and `val`, with `train` alone, or with class folders.
        share: what is held out of each class where there is no `val`; None for a training without validation, which
            holds nothing out.
        suffixes: how names of images end, in any case.

    Returns:
        The files class by class, sorted by the bytes of their path.

    Raises:
        ConvsmithError: for every layout that would train on less, or on something else, than is meant.
    """
    root = root.absolute()
    layout = find_layout(root)
    others = layout.others.copy()
    train, val = IndexBuilder(root), IndexBuilder(root)
    empty: dict[str, Counter[str]] = {}
    nested: dict[str, Inside] = {}
    seen, to_hold_out = 0, share if layout.val is None else None
    judged = layout.val or {}
    folders = [*layout.train.values(), *judged.values()]
    with closing(_telling(read_classes(root, folders, suffixes, to_hold_out is not None), len(folders))) as found:
        for target, (label, files) in enumerate(zip(layout.train, found, strict=False)):  # the rest is of val
            nested[label] = files.inside
            others += files.others
            if not len(files):
                empty[label] = files.others
            learned, held_out = files.split(to_hold_out, seen) if to_hold_out else (files.packed, None)
            seen += len(files)
            train.add_packed(target, *learned)
            if held_out is not None:
                val.add_packed(target, *held_out)
        targets = {label: target for target, label in enumerate(layout.train)}
        for label, files in zip(judged, found, strict=True):
            others += files.others
            val.add_packed(targets[label], *files.packed)
    if empty:
        raise _no_images(root, empty)
    nesting = check_nesting(root, nested)
    train_index, val_index = train.build(), val.build()
    if not len(val_index) and share is not None:
        raise _nothing_to_validate(root, is_split=layout.val is None)
    notes = [*layout.notes, *nesting]
    if others:
        notes.append(others_note(others))
    if to_hold_out:
        total = len(train_index) + len(val_index)
        notes.append(
            f"no val folder: held out {len(val_index)} of {total} images for validation, the same ones each time"
        )
    classes = tuple(layout.train)
    judged_of_each = np.bincount(val_index.targets, minlength=len(classes))
    if share is not None and not judged_of_each.all():
        notes.append(f"no validation images for {quoted(classes[i] for i in np.flatnonzero(judged_of_each == 0))}")
    return ImageData(root, classes, train_index, val_index, tuple(notes))


def _telling(found: Generator[ClassFiles], total: int) -> Generator[ClassFiles]:
    """Pass on what is found in each of so many folders, with a line of progress now and then."""
    told, images = time.monotonic(), 0
    with closing(found):
        for done, files in enumerate(found, 1):
            yield files
            images += len(files)
            if time.monotonic() - told > _EVERY:
                told = time.monotonic()
                logger.info("%d of %d class folders read, %d images", done, total, images)


def open_labelled_folder(
    root: Path, classes: Sequence[str], wanted: Part | None = None, suffixes: Collection[str] = IMAGE_SUFFIXES
) -> tuple[Index, bool]:
    """The images of a part, `ROOT/PART/CLASS/**`, see `part_to_judge`, or else of `ROOT/CLASS/**`, to evaluate a model.

    Args:
        root: the folder.
        classes: the model's labels; a file's target is the position of its class here. Classes without a folder
            are allowed.
        wanted: the part that was named, if any.
        suffixes: how names of images end, in any case.

    Returns:
        The index, in the order of `classes`, then of the files' paths; and whether it is of a part.

    Raises:
        ConvsmithError: if the folder is unreadable, holds no images or parts inside the classes, has not the wanted
            part, or holds a class that is not in `classes`.
    """
    root = root.absolute()
    listing = list_folder(root)
    called = {"train": "train", "val": val_folder(root, listing.folders) or "val", "test": "test"}
    there = {part: name for part in ALL_PARTS if (name := called[part]) in {*listing.folders} - {*classes}}
    part = part_to_judge(root, wanted, there)
    parent = "" if part is None else there[part]
    if parent:
        listing = list_folder(root / parent)
    leave_out_outputs(root / parent, listing)
    folders = class_folders(root, parent, listing)
    known = frozenset(classes)
    for label in folders:
        if label not in known:
            raise ConvsmithError(
                f"{printable(root / folders[label])} is not a class of the model" + did_you_mean(label, classes),
                f"its classes are {quoted(classes)}",
                "Pass a folder with a folder `val` or with class folders, named as in training.",
            )
    builder = IndexBuilder(root)
    nested: dict[str, Inside] = {}
    there_are = {label: target for target, label in enumerate(classes) if label in folders}
    chosen = [folders[label] for label in there_are]
    with closing(_telling(read_classes(root, chosen, suffixes, ranked=False), len(chosen))) as found:
        for (label, target), files in zip(there_are.items(), found, strict=True):
            nested[label] = files.inside
            builder.add_packed(target, *files.packed)
    check_nesting(root, nested)
    index = builder.build()
    if not len(index):
        raise ConvsmithError(
            f"no images in the class folders of {printable(root / parent)}",
            "",
            "Check the path of the data.",
        )
    return index, part is not None


def _no_images(root: Path, empty: Mapping[str, Counter[str]]) -> ConvsmithError:
    """The error for class folders without images, by what else they hold."""
    found = [f"`{printable(label)}` holds {held(others)}" for label, others in empty.items() if others][:3]
    return ConvsmithError(
        f"no training images for {quoted(empty)} in {printable(root)}",
        "; ".join(["each class folder needs at least one", *found]),
        remedy_for(suffix for others in empty.values() for suffix in others)
        or "Add images to the folder, or remove it.",
    )


def _nothing_to_validate(root: Path, is_split: bool) -> ConvsmithError:
    if is_split:
        return ConvsmithError(
            f"no images left for validation in {printable(root)}",
            "every class has one image only",
            "Add images, or make a folder val beside train.",
        )
    return ConvsmithError(
        f"no images in the class folders of {printable(root / 'val')}",
        "",
        "Add images; or remove the folder, to have val split off train.",
    )
