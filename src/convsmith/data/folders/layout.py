"""Which folder is what: train, val, and the class folders in them. Every doubt is an error or a note."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from convsmith.data.folders.remedies import remedy_for, tables_in
from convsmith.data.folders.scan import Listing, held, leave_out_outputs, list_folder
from convsmith.data.parts import val_folder
from convsmith.errors import ConvsmithError, counted, did_you_mean, printable, quoted

TRAIN_LIKE = frozenset({"train", "training"})
HELD_OUT_LIKE = frozenset({"val", "valid", "validation", "test", "testing"})
SPLIT_LIKE = TRAIN_LIKE | HELD_OUT_LIKE


@dataclass(frozen=True)
class Layout:
    """Class folders by label, sorted by label, as paths relative to the root.

    Attributes:
        train: at least two classes.
        val: some of the same classes; None where val has to be split off train.
        notes: lines about what lies beside the class folders and is left out.
        others: files that are not images, met so far, by extension.
    """

    train: dict[str, str]
    val: dict[str, str] | None
    notes: tuple[str, ...]
    others: Counter[str]


def find_layout(root: Path) -> Layout:
    """Recognise `ROOT/train` with `ROOT/val`, `valid` or `validation`, `ROOT/train` alone, or class folders in `ROOT`.

    `ROOT/test` is left out beside them.

    Raises:
        ConvsmithError: where folders are misnamed, missing, contradictory or unreadable.
    """
    top = list_folder(root)
    leave_out_outputs(root, top)
    names = set(top.folders)
    others = Counter(top.others)
    notes: list[str] = []
    if "train" not in names:
        _refuse_splits_without_train(root, names)
        train = class_folders(root, "", top)
        notes += _stray_images(root, top)
        val = None
    else:
        val_name = val_folder(root, names)
        notes += _stray_images(root, top)
        if beside := sorted(names - {"train", val_name}):
            notes.append(f"left out, beside train and {val_name or 'val'} in {printable(root)}: {quoted(beside)}")
        splits: list[dict[str, str]] = []
        for split in ("train", *([val_name] if val_name else [])):
            listing = list_folder(root / split)
            leave_out_outputs(root / split, listing)
            splits.append(class_folders(root, split, listing))
            notes += _stray_images(root / split, listing)
            others.update(listing.others)
        train, val = splits[0], splits[1] if len(splits) == 2 else None
    if len(train) == 1:
        raise _only_one_class(root, *train.values())
    for label in val or ():
        if val is not None and label not in train:
            raise ConvsmithError(
                f"{printable((root / val[label]).parent)} has the class `{label}`, which "
                f"{printable(root / 'train')} lacks" + did_you_mean(label, train),
                "",
                "Rename the folder, add training images, or remove it.",
            )
    return Layout(train, val, tuple(notes), others)


def class_folders(root: Path, split: str, listing: Listing) -> dict[str, str]:
    """`{label: folder relative to root}`, sorted by label, of the folders listed in `root/split`.

    A label is the folder's name in Unicode normal form C, so that the same name from another system is the same class.

    Raises:
        ConvsmithError: if there is no folder, a name is not text, or two names are the same label.
    """
    parent = root / split
    if not listing.folders:
        images = f"{counted(len(listing.images), 'image')} directly" if listing.images else "no images either"
        also = f", but {held(listing.others)}" if listing.others else ""
        sort = "Put the images of each class into a folder named after the class"
        sort += f"; if `{printable(split)}` is itself a class, put all class folders into train/." if split else "."
        if listing.images:
            sort += " Or say where their names hold it, such as data.pattern='^(?P<label>[A-Za-z]+)'."
        remedy = tables_in(parent) or ("" if listing.images else remedy_for(listing.others))
        raise ConvsmithError(f"no class folders in {printable(parent)}", f"it holds {images}{also}", remedy or sort)
    folders: dict[str, str] = {}
    for name in listing.folders:
        try:
            label = unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ConvsmithError(
                f"the name of the class folder {printable(parent / name)} is not UTF-8",
                "a label has to be text",
                "Rename the folder.",
            ) from error
        if label in folders:
            raise ConvsmithError(
                f"two folders in {printable(parent)} are the class `{label}`",
                "their names differ only in how Unicode composes the letters",
                "Move the images into one of them.",
            )
        folders[label] = f"{split}/{name}" if split else name
    return dict(sorted(folders.items()))


def _refuse_splits_without_train(root: Path, names: set[str]) -> None:
    if (val := val_folder(root, names)) is not None:
        raise ConvsmithError(
            f"{printable(root)} has {val} but no train",
            "",
            "Rename the folder of training images to train, or pass the folder that holds both.",
        )
    for name in sorted(names):
        if name.casefold() in SPLIT_LIKE:
            raise ConvsmithError(
                f"`{name}` in {printable(root)} looks like a part of a data set, not a class",
                "the parts must be called train and val",
                "Rename it; if it is a class, put all class folders into train/.",
            )


def _only_one_class(root: Path, folder: str) -> ConvsmithError:
    inside = root / folder
    listing = list_folder(inside)
    while len(listing.folders) == 1 and not listing.images:
        inside /= listing.folders[0]
        listing = list_folder(inside)
    fix = tables_in(root) or "Add a folder for each further class."
    if listing.folders and not listing.images:
        fix = f"Are the classes {quoted(listing.folders, 3)}? Then "
        split = folder.partition("/")[0] if "/" in folder else ""
        fix += f"move them up into {printable(root / split)}." if split else f"pass {printable(inside)} instead."
        if {"train", "val"} & set(listing.folders):
            fix = f"Pass {printable(inside)} instead."
    return ConvsmithError(f"only one class folder: {printable(root / folder)}", "there is nothing to tell apart", fix)


def _stray_images(directory: Path, listing: Listing) -> list[str]:
    if not listing.images:
        return []
    return [f"left out, in no class folder: {counted(len(listing.images), 'image')} directly in {printable(directory)}"]
