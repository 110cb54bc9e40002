"""Tar shards in WebDataset's layout: one, a pattern of several, or a folder. The rules are in docs/data-shards.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.data.classes import require_classes
from convsmith.data.contents import Contents
from convsmith.data.dataset import DataSet, Samples, Split
from convsmith.data.image_data import ImageData
from convsmith.data.masks.mask_data import MaskedPart, make_mask_data, masks_to_learn
from convsmith.data.packed_labels import rows_to_keep
from convsmith.data.parts import Part
from convsmith.data.shards.sample_texts import SEVERAL
from convsmith.data.shards.shard_labels import ShardLabels, ShardLabelSets
from convsmith.data.shards.shard_paths import are_shards
from convsmith.data.shards.shards import Shards
from convsmith.data.source import Opener, Source
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError, counted, printable, quoted
from convsmith.recipe.data import Data
from convsmith.recipe.mask_data import Masks


def _open_images(path: Path, _section: Data, share: Share | None) -> DataSet:
    shards = Shards.at(path)
    labels = ShardLabels.of(shards)
    classes = labels.learned(shards.learned())
    parts, notes = shards.parts(shards.found.labels, share)
    train, val = (labels.targets(parts[split], classes, "training") for split in ("train", "val"))
    if share is not None and (without := set(range(len(classes))) - set(np.unique(val.targets).tolist())):
        notes.append(f"no validation images for {quoted(classes[i] for i in sorted(without))}")
    return ImageData(shards.paths.root, classes, train, val, tuple(notes))


def _labelled_images(path: Path, _section: Data, classes: Sequence[str], part: Part | None) -> tuple[Samples, bool]:
    shards = Shards.at(path)
    samples, is_part = shards.judged(part)
    return ShardLabels.of(shards).targets(samples, classes, "the model"), is_part


def _open_several(path: Path, _section: Data, share: Share | None) -> DataSet:
    shards = Shards.at(path)
    sets = ShardLabelSets.of(shards)
    learned = shards.learned()
    classes, every = sets.learned(learned), sets.labels
    parts, notes = shards.parts(
        every.rarest(every.select(learned).counts()),
        share,
        lambda train, val: rows_to_keep(every.select(train), every.select(val)),
    )
    train, val = (sets.targets(parts[split], classes, "training") for split in ("train", "val"))
    assert val.labels is not None
    if len(val) and (without := np.flatnonzero(val.labels.counts() == 0)).size:
        if len(without) == len(classes):
            raise ConvsmithError(f"no validation image of {printable(shards.paths.root)} has a label", "", "Add some.")
        notes.append(f"no validation images for {quoted(classes[k] for k in without)}")
    return ImageData(shards.paths.root, classes, train, val, tuple(notes))


def _labelled_several(path: Path, _section: Data, classes: Sequence[str], part: Part | None) -> tuple[Samples, bool]:
    shards = Shards.at(path)
    samples, is_part = shards.judged(part)
    return ShardLabelSets.of(shards).targets(samples, classes, "the model"), is_part


def _open_masks(path: Path, section: Data, share: Share | None) -> DataSet:
    shards = Shards.at(path)
    parts, notes = shards.parts(np.zeros(len(shards.found), np.int32), share)
    pairs: dict[Split, MaskedPart] = {split: _pairs(shards, samples) for split, samples in parts.items()}
    return masks_to_learn(shards.paths.root, section.masks or Masks(), pairs, notes)


def _labelled_masks(path: Path, section: Data, classes: Sequence[str], part: Part | None) -> tuple[Samples, bool]:
    shards = Shards.at(path)
    samples, is_part = shards.judged(part)
    pairs: dict[Split, MaskedPart] = {"train": _pairs(shards, samples)}
    pairs["val"] = pairs["train"]
    dataset = make_mask_data(shards.paths.root, section.masks or Masks(), pairs, ())
    require_classes(path, dataset.classes, classes)
    return dataset.train, is_part


def _pairs(shards: Shards, samples: NDArray[np.int64]) -> MaskedPart:
    masks = shards.found.masks
    without = samples if not len(masks) else samples[masks.places["offset"][samples] < 0]
    if without.size:
        raise ConvsmithError(
            f"{counted(len(without), 'sample')} without a mask, such as {shards.sample(int(without[0]))}",
            "it is a .png beside an image of another kind, or a .mask.png",
            "Write it, or name a recipe for classification where the samples have labels.",
        )
    return shards.images(samples), shards.members(masks.select(samples))


def _images(path: Path, _section: Data) -> Contents:
    shards = Shards.at(path)
    return shards.members(shards.found.images)


def _task_of(path: Path) -> str:
    """Several labels where there is a list of them, else segmentation where there are masks and no labels."""
    found = Shards.at(path).found
    if any(name.startswith(SEVERAL) for name in found.names):
        return "multilabel"
    return "segmentation" if len(found.masks) and (found.labels < 0).any() else "classification"


SOURCE = Source(
    are_shards,
    {
        "classification": Opener(_open_images, _labelled_images),
        "multilabel": Opener(_open_several, _labelled_several),
        "segmentation": Opener(_open_masks, _labelled_masks),
    },
    task_of=_task_of,
    images=_images,
)
