"""Tar shards in WebDataset's layout: one, a pattern of several, or a folder. The rules are in docs/data.md."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.data.classes import CLASSES_FILE, read_class_names, require_classes
from convsmith.data.dataset import DataSet, Samples, Split
from convsmith.data.image_data import ImageData
from convsmith.data.index import Index
from convsmith.data.mask_contents import refuse_ignored_class
from convsmith.data.mask_data import MaskedPart, class_values, make_mask_data
from convsmith.data.members import Members
from convsmith.data.scan import others_note
from convsmith.data.shard_index import index_of
from convsmith.data.shard_paths import ShardPaths, are_shards, find_shards, no_split
from convsmith.data.shard_samples import LABEL_KEYS, Found, Packed
from convsmith.data.source import Opener, Source
from convsmith.data.split import hold_out
from convsmith.errors import ConvsmithError, counted, did_you_mean, printable, quoted
from convsmith.recipe.mask_data import Masks, check_names
from convsmith.recipe.schema import Data


@dataclass(frozen=True)
class _Shards:
    """The samples of some shards.

    Attributes:
        paths: the shards.
        found: what is in them.
        stats: size in bytes and time of change of each shard, int64 `[S, 2]`.
    """

    paths: ShardPaths
    found: Found
    stats: NDArray[np.int64]

    @classmethod
    def at(cls, given: Path) -> _Shards:
        paths = find_shards(given)
        return cls(paths, *index_of(paths))

    def members(self, packed: Packed) -> Members:
        return Members(self.paths, self.stats, packed)

    def of_split(self, *splits: str) -> NDArray[np.int64]:
        """The numbers of the samples of some splits."""
        wanted = np.array([split in splits for split in self.paths.splits])
        return np.flatnonzero(wanted[self.found.images.places["shard"]])

    def parts(
        self, groups: NDArray[np.int32], val_fraction: float | None
    ) -> tuple[dict[Split, NDArray[np.int64]], list[str]]:
        """The numbers of the samples to train on and to validate on, and notes.

        Args:
            groups: what has to be in both where some is held out, such as the label of each sample.
            val_fraction: see `Opener.open`.
        """
        train, val = self.learned(), self.of_split("val")
        notes = [others_note(self.found.others)] if self.found.others else []
        if tests := len(self.of_split("test")):
            notes.append(f"left out: {counted(tests, 'sample')} of the split `test`")
        if not len(val) and val_fraction is not None:
            total = len(train)
            names = self.members(self.found.images.select(train)).names
            held_out = hold_out(names, groups[train].astype(np.int64), val_fraction)
            train, val = train[~held_out], train[held_out]
            if not len(val):
                raise ConvsmithError(
                    f"no images left for validation in {printable(self.paths.root)}",
                    "there is one image of each class only",
                    "Add images, or give shards of the split `val`.",
                )
            notes.append(
                f"no shards of the split `val`: held out {len(val)} of {total} images for validation, the same ones"
            )
        return {"train": train, "val": val}, notes

    def learned(self) -> NDArray[np.int64]:
        """The numbers of the samples to train on, before some are held out."""
        if not len(train := self.of_split("", "train")):
            raise no_split(self.paths, "train")
        return train

    def judged(self) -> tuple[NDArray[np.int64], bool]:
        """The samples to judge a model by: those of `val`, else of `test`, else all; and whether it is a part."""
        part = next((samples for split in ("val", "test") if len(samples := self.of_split(split))), None)
        return (self.of_split("", "train"), False) if part is None else (part, True)

    def sample(self, i: int) -> str:
        """A sample in messages."""
        return printable(self.members(self.found.images)[i].name)


@dataclass(frozen=True)
class _Labels:
    """The labels of some shards as text.

    Attributes:
        shards: the shards.
        names: the labels by their numbers in the index; whole numbers as `classes.txt` names them, where there is one.
        classes: those that `classes.txt` names, where the labels are whole numbers; else empty.
    """

    shards: _Shards
    names: tuple[str, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, shards: _Shards) -> _Labels:
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
        return Index(self.shards.members(self.shards.found.images.select(samples)), targets)

    def _require(self, samples: NDArray[np.int64]) -> None:
        if (without := samples[self.shards.found.labels[samples] < 0]).size:
            raise ConvsmithError(
                f"{counted(len(without), 'sample')} without a label, such as {self.shards.sample(int(without[0]))}",
                f"it is text in a .cls beside the image, or in a .json under one of {quoted(LABEL_KEYS)}",
                "Write it; or unpack the archive; or name a recipe for segmentation, for masks. `convsmith data pack` "
                "writes shards of a folder of images.",
            )


def _are_numbers(names: Sequence[str]) -> bool:
    return all(name.isascii() and name.isdigit() and len(name) < 10 for name in names)


def _open_images(path: Path, _section: Data, val_fraction: float | None) -> DataSet:
    shards = _Shards.at(path)
    labels = _Labels.of(shards)
    classes = labels.learned(shards.learned())
    parts, notes = shards.parts(shards.found.labels, val_fraction)
    train, val = (labels.targets(parts[split], classes, "training") for split in ("train", "val"))
    if val_fraction is not None and (without := set(range(len(classes))) - set(np.unique(val.targets).tolist())):
        notes.append(f"no validation images for {quoted(classes[i] for i in sorted(without))}")
    return ImageData(shards.paths.root, classes, train, val, tuple(notes))


def _labelled_images(path: Path, _section: Data, classes: Sequence[str]) -> tuple[Samples, bool]:
    shards = _Shards.at(path)
    samples, is_part = shards.judged()
    return _Labels.of(shards).targets(samples, classes, "the model"), is_part


def _open_masks(path: Path, section: Data, val_fraction: float | None) -> DataSet:
    shards = _Shards.at(path)
    parts, notes = shards.parts(np.zeros(len(shards.found), np.int32), val_fraction)
    keys = section.masks or Masks()
    pairs: dict[Split, MaskedPart] = {split: _pairs(shards, samples) for split, samples in parts.items()}
    dataset = make_mask_data(shards.paths.root, keys, pairs, notes)
    refuse_ignored_class(keys, class_values(keys, len(dataset.classes)), dataset.train.masks)
    return dataset


def _labelled_masks(path: Path, section: Data, classes: Sequence[str]) -> tuple[Samples, bool]:
    shards = _Shards.at(path)
    samples, is_part = shards.judged()
    pairs: dict[Split, MaskedPart] = {"train": _pairs(shards, samples)}
    pairs["val"] = pairs["train"]
    dataset = make_mask_data(shards.paths.root, section.masks or Masks(), pairs, ())
    require_classes(path, dataset.classes, classes)
    return dataset.train, is_part


def _pairs(shards: _Shards, samples: NDArray[np.int64]) -> MaskedPart:
    masks, images = shards.found.masks, shards.found.images
    without = samples if not len(masks) else samples[masks.places["offset"][samples] < 0]
    if without.size:
        raise ConvsmithError(
            f"{counted(len(without), 'sample')} without a mask, such as {shards.sample(int(without[0]))}",
            "it is a .png beside an image of another kind, or a .mask.png",
            "Write it, or name a recipe for classification where the samples have labels.",
        )
    return shards.members(images.select(samples)), shards.members(masks.select(samples))


def _task_of(path: Path) -> str:
    """Segmentation where there are masks and no labels."""
    found = _Shards.at(path).found
    return "segmentation" if len(found.masks) and (found.labels < 0).any() else "classification"


SOURCE = Source(
    are_shards,
    {"classification": Opener(_open_images, _labelled_images), "segmentation": Opener(_open_masks, _labelled_masks)},
    task_of=_task_of,
)
