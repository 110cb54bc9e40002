"""Images that a Python program holds, with their labels or masks, as data in place of a path."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.data.dataset import DataSet, Split
from convsmith.data.image_data import ImageData
from convsmith.data.index import Index
from convsmith.data.masks.mask_data import masks_to_learn
from convsmith.data.memory.contents_in_memory import Items, Pictures
from convsmith.data.memory.in_memory_labels import check_labels, labels_of, pack_labels
from convsmith.data.packed_labels import rows_to_keep
from convsmith.data.split import Keep, Share, hold_out
from convsmith.errors import ConvsmithError, quoted
from convsmith.recipe.data import Data
from convsmith.recipe.mask_data import Masks

_ROOT = Path("images in memory")
"""The place that they lie in, as messages call it."""


@dataclass(frozen=True)
class Held:
    """One split: images, and the label or mask of each.

    Attributes:
        images: paths, bytes of image files, Pillow images, arrays `[H, W, C]` or `[H, W]`, or tensors `[C, H, W]`: of
            uint8, or with `preprocess.range` of any numbers.
        targets: labels, as text or numbers; of several labels a list of names each, or a row of a matrix `[N, K]` of 0
            and 1; or masks, as images are, of one channel, of whole numbers of any type.
    """

    images: Items
    targets: Items

    def __post_init__(self) -> None:
        if len(self.images) != len(self.targets):
            raise ConvsmithError(
                f"there are {len(self.images)} images, but {len(self.targets)} labels or masks",
                fix="Give one for each image, in the same order.",
            )


@dataclass(frozen=True)
class InMemory:
    """A data set that Python holds; without `val`, a share of `train` is held out, the same each time."""

    train: Held
    val: Held | None = None

    def __str__(self) -> str:
        return f"{len(self.train.images)} images in memory"


def in_memory(data: object) -> InMemory | None:
    """The data in `(images, targets)`, in an object that gives `(image, target)` at each place, such as a Dataset of
    torch, or in a mapping of `train` and `val` to either; None if it is a path.

    Raises:
        ConvsmithError: it is none of these.
    """
    if isinstance(data, str | os.PathLike):
        return None
    if isinstance(data, InMemory):
        return data
    if not isinstance(data, Mapping):
        return InMemory(_held(data))
    if "train" not in data or set(data) - {"train", "val"}:
        raise ConvsmithError(
            f"the data have the keys {sorted(map(str, data))}", "known are train and val", "Give both, or train alone."
        )
    val = data.get("val")
    return InMemory(_held(data["train"]), None if val is None else _held(val))


def open_in_memory(task: str, data: InMemory, section: Data, share: Share | None) -> DataSet:
    """The splits of images that Python holds.

    Args:
        task: the name of the task that they are for.
        data: the images.
        section: a recipe's `data`.
        share: what to hold out where there are no validation images; None holds nothing out.

    Raises:
        ConvsmithError: they are not data of that task, or not what the section says.
    """
    if task not in _OPENERS:
        raise ConvsmithError(f"images in memory cannot be used for {task}", fix="Give a folder or a table.")
    return _OPENERS[task](data, section, share)


def _held(data: object) -> Held:
    if isinstance(data, Held):
        return data
    if isinstance(data, tuple | list) and len(data) == 2 and all(map(_is_items, data)):
        return Held(*data)
    if _is_items(data):
        return Held(_Part(data, 0), _targets_of(data))
    raise ConvsmithError(
        f"a {type(data).__name__} is not data",
        "it has no length, or nothing at each place",
        "Give a path, (images, labels), or an object whose places are (image, label), such as a Dataset of torch.",
    )


def _is_items(data: object) -> bool:
    return isinstance(data, Sized) and hasattr(data, "__getitem__") and not isinstance(data, str | bytes | Mapping)


@dataclass(frozen=True)
class _Part:
    """The images, or the targets, of an object that gives both at each place."""

    pairs: Any
    part: int

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> object:
        return self.pairs[i][self.part]


def _targets_of(data: Any) -> Items:
    """Those that it lists, as torchvision's data sets do, which reads no image; or those of its places."""
    listed = getattr(data, "targets", None)
    if listed is not None and _is_items(listed) and len(listed) == len(data):
        names: Any = getattr(data, "classes", None)
        numbers = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
        return [names[int(number)] for number in listed] if numbers else listed
    return _Part(data, 1)


def _open_images(data: InMemory, _section: Data, share: Share | None) -> DataSet:
    labels = {split: [_label(target) for target in _each(held.targets)] for split, held in _splits(data)}
    classes = sorted(set(labels["train"]), key=_place)
    if len(classes) < 2:
        raise ConvsmithError(f"there is one class in memory: {', '.join(classes)}", "there is nothing to tell apart")
    if unknown := sorted({label for of_split in labels.values() for label in of_split} - set(classes)):
        raise ConvsmithError(
            f"no training image has the label {quoted(unknown)} of validation images",
            fix="Leave these out, or give training images of them.",
        )
    numbers = {name: number for number, name in enumerate(classes)}
    targets = {split: np.array([numbers[label] for label in of_split]) for split, of_split in labels.items()}
    parts, notes = _parts(data, targets["train"], share)
    train, val = (
        Index(images, targets[split if data.val else "train"][images.numbers]) for split, (images, _) in parts.items()
    )
    return ImageData(_ROOT, tuple(classes), train, val, notes)


def _open_several(data: InMemory, _section: Data, share: Share | None) -> DataSet:
    labels = {split: labels_of(_each(held.targets)) for split, held in _splits(data)}
    every = {split: set[str]().union(*of_split) for split, of_split in labels.items()}
    classes = sorted(every["train"], key=_place)
    check_labels(classes, every.get("val", set()) - every["train"])
    packed = {split: pack_labels(of_split, classes) for split, of_split in labels.items()}
    parts, notes = _parts(
        data,
        packed["train"].rarest(packed["train"].counts()),
        share,
        lambda train, val: rows_to_keep(packed["train"].select(train), packed["train"].select(val)),
    )
    chosen = {split: packed[split if data.val else "train"].select(it.numbers) for split, (it, _) in parts.items()}
    train, val = (Index(images, chosen[split].hashes(), chosen[split]) for split, (images, _) in parts.items())
    return ImageData(_ROOT, tuple(classes), train, val, notes)


def _open_masks(data: InMemory, section: Data, share: Share | None) -> DataSet:
    parts, notes = _parts(data, np.zeros(len(data.train.images), np.int64), share)
    return masks_to_learn(_ROOT, section.masks or Masks(), parts, notes)


def _parts(
    data: InMemory, strata: NDArray[np.int64], share: Share | None, keep: Keep | None = None
) -> tuple[dict[Split, tuple[Pictures, Pictures]], tuple[str, ...]]:
    """Images and masks of `train` and `val`, and notes; what is held out is so of each stratum; see `hold_out`."""
    parts: dict[Split, tuple[Pictures, Pictures]] = {
        split: (Pictures.all_of(held.images, f"{split} image"), Pictures.all_of(held.targets, f"{split} mask"))
        for split, held in _splits(data)
    }
    if "val" in parts:
        return parts, ()
    images, masks = parts["train"]
    held = np.zeros(len(images), np.bool_) if share is None else hold_out(images.names, strata, share, keep)
    chosen: dict[Split, NDArray[np.int64]] = {"train": np.flatnonzero(~held), "val": np.flatnonzero(held)}
    parts = {split: (images.select(numbers), masks.select(numbers)) for split, numbers in chosen.items()}
    note = f"held out {held.sum()} of {len(images)} images for validation, the same ones each time"
    return parts, () if share is None else (note,)


def _splits(data: InMemory) -> list[tuple[Split, Held]]:
    return [("train", data.train), *([("val", data.val)] if data.val else [])]  # type: ignore[list-item]


def _place(name: str) -> tuple[int, str]:
    """The place of a class among others: numbers by their value, behind names."""
    return int(name) if name.isdecimal() else -1, name


def _each(items: Items) -> Iterator[Any]:
    return (items[i] for i in range(len(items)))


def _label(target: Any) -> str:
    """The name of a label: of a number its digits."""
    return target if isinstance(target, str) else str(int(target))


_OPENERS = {"classification": _open_images, "multilabel": _open_several, "segmentation": _open_masks}
