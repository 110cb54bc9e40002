"""The labels of the samples of tar shards, one of each sample or several, and the classes that they make."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from convsmith.data.classes import CLASSES_FILE, read_class_names
from convsmith.data.index import Index
from convsmith.data.packed_labels import PackedLabels
from convsmith.data.shards.sample_texts import LABEL_KEYS, SEVERAL
from convsmith.data.shards.shards import Shards
from convsmith.errors import ConvsmithError, counted, did_you_mean, printable, quoted
from convsmith.recipe.mask_data import check_names


@dataclass(frozen=True)
class ShardLabels:
    """The labels of some shards as text.

    Attributes:
        shards: the shards.
        names: the labels by their numbers in the index; whole numbers as `classes.txt` names them, where there is one.
        classes: those that `classes.txt` names, where the labels are whole numbers; else empty.
    """

    shards: Shards
    names: tuple[str, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, shards: Shards) -> ShardLabels:
        """Read the labels, and their names."""
        names = tuple(unicodedata.normalize("NFC", name) for name in shards.found.names)
        file = shards.paths.root / CLASSES_FILE
        if not _are_numbers(names) or not file.is_file():
            return cls(shards, names, ())
        classes = read_class_names(file, check_names)
        for number, name in enumerate(names):
            if int(name) >= len(classes):
                first = int(np.flatnonzero(shards.found.labels == number)[0])
                raise ConvsmithError(
                    f"{shards.sample(first)} has the label {name}, and {printable(file)} names {len(classes)} classes",
                    "whole numbers count its lines, from 0",
                    "Correct the file, or remove it to let the numbers be names.",
                )
        return cls(shards, tuple(classes[int(name)] for name in names), classes)

    def learned(self, samples: NDArray[np.int64]) -> tuple[str, ...]:
        """The classes to tell apart, in their order, by the samples to train on."""
        self._require(samples)
        used = {self.names[i] for i in np.unique(self.shards.found.labels[samples])}
        if without := [name for name in self.classes if name not in used]:
            raise ConvsmithError(
                f"no training images for {quoted(without)} in {printable(self.shards.paths.root)}",
                f"each class of {CLASSES_FILE} needs at least one",
                "Give all shards, or another list of classes.",
            )
        if len(used) == 1:
            raise ConvsmithError(
                f"only one class in {printable(self.shards.paths.root)}: {quoted(used)}",
                "there is nothing to tell apart",
            )
        return self.classes or tuple(sorted(used, key=int if _are_numbers(tuple(used)) else None))

    def targets(self, samples: NDArray[np.int64], classes: Sequence[str], whose: str) -> Index:
        """The images of some samples, with the position of the label of each among the classes."""
        self._require(samples)
        place = {label: i for i, label in enumerate(classes)}
        numbers = np.array([place.get(name, -1) for name in self.names], np.int64)
        targets = numbers[self.shards.found.labels[samples]]
        if (unknown := samples[targets < 0]).size:
            label = self.names[self.shards.found.labels[unknown[0]]]
            raise ConvsmithError(
                f"{self.shards.sample(int(unknown[0]))} has the label `{printable(label)}`, which {whose} lacks"
                + did_you_mean(label, classes),
                f"its classes are {quoted(classes)}",
                f"Name the classes of whole numbers in {CLASSES_FILE} beside the shards, or correct the label.",
            )
        return Index(self.shards.images(samples, classes), targets)

    def _require(self, samples: NDArray[np.int64]) -> None:
        single = np.array([*(not name.startswith(SEVERAL) for name in self.names), False])  # the last: there is none
        if (without := samples[~single[self.shards.found.labels[samples]]]).size:
            raise ConvsmithError(
                f"{counted(len(without), 'sample')} without a label, such as {self.shards.sample(int(without[0]))}",
                f"it is text in a .cls beside the image, or in a .json under one of {quoted(LABEL_KEYS)}",
                "Write it; or unpack the archive; or name a recipe for segmentation, for masks. `convsmith data pack` "
                "writes shards of a folder of images.",
            )


def _are_numbers(names: Sequence[str]) -> bool:
    return all(name.isascii() and name.isdigit() and len(name) < 10 for name in names)


@dataclass(frozen=True)
class ShardLabelSets:
    """The labels of samples that may have several.

    Attributes:
        shards: the shards.
        names: all labels: those of `classes.txt` in their order, where there is one, then others, sorted.
        labels: those of each sample, by their place among the names.
        listed: how many `classes.txt` names.
    """

    shards: Shards
    names: tuple[str, ...]
    labels: PackedLabels
    listed: int

    @classmethod
    def of(cls, shards: Shards) -> ShardLabelSets:
        """Read the labels, and their order. ConvsmithError where a sample has none of them, not even an empty list."""
        if (without := np.flatnonzero(shards.found.labels < 0)).size:
            raise ConvsmithError(
                f"{counted(len(without), 'sample')} without labels, such as {shards.sample(int(without[0]))}",
                "they are the list `labels` of a .json beside the image, which may be empty",
                "Write it.",
            )
        texts = [unicodedata.normalize("NFC", name) for name in shards.found.names]
        sets = [[it for it in text.split(SEVERAL) if it] if text.startswith(SEVERAL) else [text] for text in texts]
        file = shards.paths.root / CLASSES_FILE
        listed = read_class_names(file, check_names) if file.is_file() else ()
        names = (*listed, *sorted(set(chain(*sets)) - set(listed)))
        place = {name: k for k, name in enumerate(names)}
        members = np.array([place[name] for name in chain(*sets)], np.int32)
        of_sets = PackedLabels.pack(
            np.repeat(np.arange(len(sets)), list(map(len, sets))), members, (len(sets), len(names))
        )
        return cls(shards, names, of_sets.select(shards.found.labels.astype(np.int64)), len(listed))

    def learned(self, samples: NDArray[np.int64]) -> tuple[str, ...]:
        """The classes to tell apart, by the samples to train on."""
        counts, root = self.labels.select(samples).counts(), printable(self.shards.paths.root)
        if (lacking := np.flatnonzero(counts[: self.listed] == 0)).size:
            raise ConvsmithError(
                f"{root} has no image to train on with {quoted(self.names[k] for k in lacking)}",
                f"{CLASSES_FILE} names it",
                "Give all shards, or another list of classes.",
            )
        classes = tuple(name for name, count in zip(self.names, counts, strict=True) if count)
        if len(classes) < 2:
            raise ConvsmithError(
                f"{root} has {counted(len(classes), 'label')}", "of several there are two at least", "Add images."
            )
        return classes

    def targets(self, samples: NDArray[np.int64], classes: Sequence[str], whose: str) -> Index:
        """The images of some samples, with which of the classes each has."""
        chosen = self.labels.select(samples)
        place = {name: k for k, name in enumerate(classes)}
        members = np.array([place.get(name, -1) for name in self.names], np.int32)[chosen.members]
        images = np.repeat(np.arange(len(chosen)), np.diff(chosen.offsets))
        if (strange := np.flatnonzero(members < 0)).size:
            label = self.names[chosen.members[strange[0]]]
            raise ConvsmithError(
                f"{self.shards.sample(int(samples[images[strange[0]]]))} has the label `{printable(label)}`, which "
                f"{whose} lacks{did_you_mean(label, classes)}",
                f"its classes are {quoted(classes)}",
                "Correct the label, or leave the image out.",
            )
        packed = PackedLabels.pack(images, members, (len(chosen), len(classes)))
        return Index(self.shards.images(samples, classes), packed.hashes(), packed)
