"""Images, each with a mask, as a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convsmith.data.checks.duplicates import duplicates
from convsmith.data.checks.look import Looks
from convsmith.data.classes import CLASSES_FILE, read_class_names
from convsmith.data.contents import Contents
from convsmith.data.dataset import Decode, Findings, Keep, Reader, Split, keep_nothing
from convsmith.data.masks.label_sets import Colours
from convsmith.data.masks.mask_contents import refuse_colours_without_table, refuse_ignored_class, unknown_classes
from convsmith.data.masks.mask_file import MaskRules
from convsmith.data.masks.mask_layouts import LAYOUTS
from convsmith.data.masks.mask_size import check_val_size
from convsmith.data.masks.pairs import PairIndex
from convsmith.data.masks.pixel_counts import count_pixels
from convsmith.data.masks.pixel_facts import count_of, require_pixels, shares, unseen_classes
from convsmith.data.masks.strange_values import strange_values
from convsmith.errors import ConvsmithError, quoted
from convsmith.recipe.augmentation import Augment
from convsmith.recipe.mask_data import Masks, check_class_names, check_fit
from convsmith.spec import Preprocessing

MaskedPart = tuple[Contents, Contents]
"""The images of a split, and their masks in the same order."""


@dataclass(frozen=True)
class MaskData:
    """A data set for segmentation.

    Attributes:
        root: the folder that it lies in, as an absolute path.
        classes: their names; the position of a name is its value in the masks that are read.
        colours: red, green and blue of each class in 0 to 255; None where none are known.
        train: the training pairs.
        val: the validation pairs; none of them where nothing is held out.
        extra: the pairs of the extra epochs; None where the recipe names none.
        notes: lines worth printing: what was left out, what was held out.
        masks: the recipe's section that it was opened by.
    """

    root: Path
    classes: tuple[str, ...]
    colours: Colours | None
    train: PairIndex
    val: PairIndex
    extra: PairIndex | None
    notes: tuple[str, ...]
    masks: Masks

    counted: Literal["pixels"] = "pixels"

    @property
    def names_digest(self) -> str:
        """Names the files, their classes and the split, wherever the folder lies; nothing is read."""
        parts = [self.train, self.val, *([self.extra] if self.extra is not None else [])]
        classes = hashlib.sha256("\n".join(self.classes).encode()).hexdigest()
        return " ".join([*(part.digest() for part in parts), classes])

    @property
    def rules(self) -> MaskRules:
        """The meaning of the pixels in the mask files."""
        return self.train.rules

    def part(self, split: Split) -> PairIndex:
        """The pairs of a split; where there are none for the extra epochs, those of training."""
        if split == "extra" and self.extra is not None:
            return self.extra
        return self.val if split == "val" else self.train

    def count_classes(self, used: NDArray[np.int64]) -> NDArray[np.int64]:
        """The pixels of each class, int64 `[K]`, in the masks of the training pairs at `used`."""
        return count_pixels(self.train.select(used), len(self.classes))

    def class_counts(self, split: Split, looks: Looks) -> NDArray[np.int64]:  # noqa: ARG002  # the look has all of it
        """The pixels of each class in the masks of a split, int64 `[K]`, as a look saw them."""
        return count_of(looks)[: len(self.classes)]

    def findings(self, looks: Mapping[Split, Looks], used: NDArray[np.int64]) -> Findings:
        """The pixels of each class, classes without any, and images that are in training and validation."""
        pixels = {"training": count_of(looks["train"], used), "validation": count_of(looks["val"])}
        bad = (self.part(split).masks[i] for split, seen in looks.items() for i in sorted(seen.bad))
        strange = strange_values(bad, self.rules, self.masks)
        try:
            unseen = unseen_classes(self.train, pixels["training"], self.classes, self.masks)
            if len(self.val):
                require_pixels(self.val, pixels["validation"], self.classes, self.masks)
        except ConvsmithError as error:
            raise ConvsmithError(error.what, error.why, "\n".join(filter(None, [strange, error.fix]))) from error
        notes = [shares(kind, counted, self.classes) for kind, counted in pixels.items() if counted.any()]
        return Findings(notes, list(filter(None, [unseen, strange])), duplicates(self, looks["train"], looks["val"]))

    def check_val_size(self, height: int, width: int, preprocess: Preprocessing) -> None:
        """Raise the ImageTooLarge of an image that the model may not look at, or whose answer cannot be held."""
        check_val_size(height, width, preprocess, len(self.classes))

    def training_reader(
        self,
        split: Split,
        augment: Augment,
        preprocess: Preprocessing,
        decode: Decode = "exact",
        keep: Keep = keep_nothing,
    ) -> Reader:
        """How a split is read to learn from: images and masks, both augmented."""
        from convsmith.data.masks.read_pair import TrainingPairs  # needs torch, which evaluate does without

        assert decode == "exact"  # the recipe's validator holds it: masks lie over whole images
        return TrainingPairs(self.part(split), augment, preprocess, keep)

    def validation_reader(self, split: Split, preprocess: Preprocessing) -> Reader:
        """How a split is read to be judged by: images and masks as they are."""
        from convsmith.data.masks.read_pair import ValidationPairs

        return ValidationPairs(self.part(split), preprocess, len(self.classes))


def make_mask_data(root: Path, masks: Masks, parts: Mapping[Split, MaskedPart], notes: Sequence[str]) -> MaskData:
    """The data set of images and masks that were found. Pixels are read for errors only.

    Args:
        root: the folder that they lie in, which may hold `classes.txt`.
        masks: the recipe's section.
        parts: images and masks by split; `train` is not empty.
        notes: lines worth printing.

    Raises:
        ConvsmithError: the classes are not known, or do not go with the masks.
    """
    labels, train_masks = LAYOUTS[masks.layout].labels, parts["train"][1]
    classes = labels.names if labels else _class_names(root, masks, train_masks)
    try:
        check_fit(masks, len(classes))
    except ValueError as error:
        raise ConvsmithError(f"data.masks.{error}", fix=f"The classes are {quoted(classes)}.") from error
    refuse_colours_without_table(masks, train_masks)
    rules = mask_rules(masks, len(classes))
    pairs = {split: PairIndex(*part, rules) for split, part in parts.items()}
    return MaskData(
        root,
        classes,
        labels.colours if labels else _class_colours(masks, len(classes)),
        pairs["train"],
        pairs["val"],
        pairs.get("extra"),
        tuple(notes),
        masks,
    )


def masks_to_learn(root: Path, masks: Masks, parts: Mapping[Split, MaskedPart], notes: Sequence[str]) -> MaskData:
    """`make_mask_data` of what is trained on. ConvsmithError, too, if the pixels that are to be ignored are a class."""
    dataset = make_mask_data(root, masks, parts, notes)
    refuse_ignored_class(masks, class_values(masks, len(dataset.classes)), dataset.train.masks)
    return dataset


def mask_rules(masks: Masks, num_classes: int) -> MaskRules:
    """How the masks that a recipe describes are read."""
    return MaskRules(class_values(masks, num_classes), masks.ignore_index, masks.others == "ignore", masks.colours)


def class_values(masks: Masks, num_classes: int) -> Mapping[int, int]:
    """By value, its class, or 255 where it does not count."""
    labels = LAYOUTS[masks.layout].labels
    return labels.values if labels else dict(masks.label_map or ((target, target) for target in range(num_classes)))


def _class_names(root: Path, masks: Masks, train_masks: Contents) -> tuple[str, ...]:
    if masks.classes is not None:
        return masks.classes
    path = root / CLASSES_FILE
    if not path.is_file():
        raise unknown_classes(root, CLASSES_FILE, masks, train_masks)
    return read_class_names(path, check_class_names)


def _class_colours(masks: Masks, num_classes: int) -> Colours | None:
    """The colour of the first value of each class."""
    if masks.colours is None:
        return None
    colour_of: dict[int, tuple[int, int, int]] = {}
    for value, target in masks.label_map or ((target, target) for target in range(num_classes)):
        if value < len(masks.colours):
            colour_of.setdefault(target, masks.colours[value])
    return tuple(colour_of[target] for target in range(num_classes))
