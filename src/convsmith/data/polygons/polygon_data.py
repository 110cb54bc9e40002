"""Images with outlined areas as a data set for segmentation. The rules are in docs/segmentation-data.md."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.data.dataset import Split
from convsmith.data.folders.files import Files, FilesBuilder
from convsmith.data.masks.mask_data import MaskData, MaskedPart, make_mask_data, masks_to_learn
from convsmith.data.parts import Part, part_to_judge
from convsmith.data.polygons.drawn_masks import DrawnMasks
from convsmith.data.polygons.formats import find_format
from convsmith.data.polygons.outlines import BACKGROUND, PARTS
from convsmith.data.polygons.packed_shapes import PackedShapes, ShapesBuilder
from convsmith.data.split import Share, hold_out
from convsmith.errors import ConvsmithError, counted, did_you_mean, printable, quoted
from convsmith.recipe.data import Data
from convsmith.recipe.mask_data import Masks, check_class_names, check_names
from convsmith.spec import IGNORED

_PART_NAMES = ("", "train", "val", "test")
_WHOLE, _TRAIN, _VAL, _TEST = range(4)
assert set(_PART_NAMES) == {"", *PARTS.values()}


@dataclass(frozen=True)
class Outlined:
    """Images with outlined areas, opened.

    Attributes:
        path: what was given.
        images: the images.
        shapes: the areas of each.
        parts: the split of each, int8 `[N]`.
        labels: the classes of areas in their order.
        notes: lines worth printing.
        channels: of the images.
    """

    path: Path
    images: Files
    shapes: PackedShapes
    parts: NDArray[np.int8]
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    channels: int

    def split(self, share: Share | None) -> tuple[dict[Split, NDArray[np.int64]], list[str]]:
        """The numbers of the images to train on and to validate on, and notes."""
        train, val, notes = self._at(_WHOLE, _TRAIN), self._at(_VAL), list(self.notes)
        if not len(train):
            raise ConvsmithError(f"{printable(self.path)} has no images to train on", "", "Give a part called `train`.")
        if tests := len(self._at(_TEST)):
            notes.append(f"left out: {counted(tests, 'image')} of the part `test`")
        if not len(val) and share is not None:
            total = len(train)
            held_out = hold_out(self.images.names[train], np.zeros(total, np.int64), share)
            train, val = train[~held_out], train[held_out]
            if not len(val):
                why = "there is one image only"
                raise ConvsmithError(f"no images left for validation in {printable(self.path)}", why, "Add images.")
            notes.append(f"no part for validation: held out {len(val)} of {total} images, the same ones each time")
        return {"train": train, "val": val}, notes

    def judged(self, wanted: Part | None) -> tuple[NDArray[np.int64], bool]:
        """The images to judge a model by: those of a part, see `part_to_judge`, or all; and whether it is a part."""
        numbers: dict[Part, int] = {"train": _TRAIN, "val": _VAL, "test": _TEST}
        there = {part: images for part, number in numbers.items() if len(images := self._at(number))}
        part = part_to_judge(self.path, wanted, there)
        return (self._at(_WHOLE, _TRAIN), False) if part is None else (there[part], True)

    def _at(self, *parts: int) -> NDArray[np.int64]:
        return np.flatnonzero(np.isin(self.parts, parts))

    def masked(self, chosen: NDArray[np.int64], classes: Sequence[str]) -> MaskedPart:
        """Some images with their masks, in which a value is the position of a class; what has no area is background."""
        place = {name: number for number, name in enumerate(classes)}
        background = next((number for name, number in place.items() if name.casefold() in BACKGROUND), IGNORED)
        values = [place.get(name, IGNORED) for name in self.shapes.names]
        table = np.array([*values, background, IGNORED], np.uint8)
        path, channels = printable(self.path), self.channels
        return self.images.select(chosen), DrawnMasks(self.shapes, self.images, chosen, table, path, channels)


def open_outlined(path: Path, section: Data) -> Outlined:
    """Read all areas at a path; images are not read, and nothing is drawn.

    Raises:
        ConvsmithError: something in a file cannot be meant, it names file and annotation; or images are missing.
    """
    masks = section.masks or Masks()
    found = find_format(path)
    if found is None:
        raise ConvsmithError(f"{printable(path)} holds no annotations", "", "Give COCO, labelme, CVAT or YOLO files.")
    if masks.layout != "folders":
        raise ConvsmithError(
            f"data.masks.layout is {masks.layout}, but {printable(path)} holds outlined areas", "", "Leave it out."
        )
    one, files = found
    outlines = one.read(files, masks.images_dir)
    shapes, images, parts = ShapesBuilder(outlines), FilesBuilder(outlines.root), []
    for image in outlines:
        shapes.add(image)
        images.add(os.fsencode(image.path))
        parts.append(_PART_NAMES.index(image.part))
    packed, built = shapes.build(), images.build()
    if not len(built):
        raise ConvsmithError(f"{printable(path)} names no images", "", "Export it again.")
    _check_images(path, built, section)
    labels = tuple(outlines.labels or sorted(packed.names))
    _check_labels(path, labels, packed.names)
    return Outlined(path, built, packed, np.array(parts, np.int8), labels, tuple(outlines.notes), section.channels)


def classes_of(labels: Sequence[str]) -> tuple[str, ...]:
    """The classes of masks with these labels: behind `background`, unless a label is that itself."""
    return tuple(labels) if any(name.casefold() in BACKGROUND for name in labels) else ("background", *labels)


def open_to_learn(path: Path, section: Data, share: Share | None) -> MaskData:
    """The data set at a path. ConvsmithError as in `open_outlined`, or for too few classes, or too many."""
    outlined = open_outlined(path, section)
    classes = classes_of(outlined.labels)
    chosen, notes = outlined.split(share)
    parts = {split: outlined.masked(numbers, classes) for split, numbers in chosen.items()}
    return masks_to_learn(outlined.images.root, _named(section, classes), parts, notes)


def open_to_judge(path: Path, section: Data, known: Sequence[str], wanted: Part | None) -> tuple[MaskData, bool]:
    """The data set whose `train` judges a model of the classes `known`, see `Opener.labelled`, and if it is a part."""
    outlined = open_outlined(path, section)
    rows, is_part = outlined.judged(wanted)
    masks = section.masks or Masks()
    classes = classes_of(outlined.labels)
    if masks.label_map is None and masks.classes is None:
        used = outlined.shapes.used(rows)
        strange = [
            name for name, occurs in zip(outlined.shapes.names, used, strict=True) if occurs and name not in known
        ]
        if strange:
            raise ConvsmithError(
                f"{printable(path)} has areas of the class `{printable(strange[0])}`, which the model lacks"
                + did_you_mean(strange[0], known),
                f"its classes are {quoted(known)}",
                "Rename the class, or leave its areas out.",
            )
        classes = tuple(known)
    part = outlined.masked(rows, classes)
    dataset = make_mask_data(outlined.images.root, _named(section, classes), {"train": part, "val": part}, ())
    return dataset, is_part


def _named(section: Data, classes: tuple[str, ...]) -> Masks:
    """The section with the classes that the file names, unless the recipe names others."""
    masks = section.masks or Masks()
    if masks.classes is not None:
        return masks
    values = masks.label_map or tuple((number, number) for number in range(len(classes)))  # as they are drawn
    return masks.model_copy(update={"classes": classes, "label_map": values})


def _check_labels(path: Path, labels: Sequence[str], used: Sequence[str]) -> None:
    try:
        check_names(labels)
        check_class_names(classes_of(labels))
    except ValueError as error:
        raise ConvsmithError(
            f"cannot take the classes of {printable(path)}", str(error), "Rename or join some."
        ) from error
    if strange := sorted(set(used) - set(labels)):
        raise ConvsmithError(
            f"{printable(path)} has areas of the class {quoted(strange)}, which its list of classes lacks"
            + did_you_mean(strange[0], labels),
            f"the list is {quoted(labels)}",
            "Correct the label, or add it to the list.",
        )


def _check_images(path: Path, images: Files, section: Data) -> None:
    """Refuse images that are named twice, and those that are not there unless bad ones are skipped."""
    order = np.argsort(images.names, kind="stable")
    twice = np.flatnonzero(images.names[order][1:] == images.names[order][:-1])
    if twice.size:
        name = printable(images[int(order[twice[0]])].name)
        raise ConvsmithError(f"{printable(path)} names the image {name} twice", "", "Leave one of them out.")
    missing = np.flatnonzero(~images.stats.any(axis=1))
    if missing.size and section.on_error != "skip":
        raise ConvsmithError(
            f"{len(missing)} of {counted(len(images), 'image')} that {printable(path)} names are missing, such as "
            f"{printable(images[int(missing[0])].name)}",
            "",
            "Put the images beside the file, or set data.masks.images_dir to their folder.",
        )
