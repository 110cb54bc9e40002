"""A folder of images and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convsmith.data.classes import require_classes
from convsmith.data.dataset import DataSet, Samples
from convsmith.data.masks.mask_contents import refuse_ignored_class
from convsmith.data.masks.mask_data import class_values
from convsmith.data.masks.mask_folder import open_mask_folder
from convsmith.data.masks.mask_pairs import is_there
from convsmith.data.source import Opener, Source
from convsmith.data.split import Share
from convsmith.recipe.mask_data import Masks
from convsmith.recipe.schema import Data


def _recognises(_root: Path) -> bool:
    return True  # opening says why it is not such a folder


def _open(root: Path, section: Data, share: Share | None) -> DataSet:
    masks = section.masks or Masks()
    folder = open_mask_folder(root, masks, share)
    refuse_ignored_class(masks, class_values(masks, len(folder.classes)), folder.train.masks)
    return folder


def _labelled(root: Path, section: Data, classes: Sequence[str]) -> tuple[Samples, bool]:
    """The validation part, or the training part where there is none."""
    masks = section.masks or Masks()
    val = masks.val or "val"
    has_val = is_there(root, masks, val)
    part = val if has_val else masks.train
    folder = open_mask_folder(root, masks.model_copy(update={"train": part, "val": None, "extra": None}), None)
    require_classes(root, folder.classes, classes)
    return folder.train, has_val


SOURCE = Source(_recognises, {"segmentation": Opener(_open, _labelled)}, last=True)
