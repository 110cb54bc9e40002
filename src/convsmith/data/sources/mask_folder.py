"""A folder of images and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convsmith.data.classes import require_classes
from convsmith.data.dataset import DataSet, Samples
from convsmith.data.folders.pattern import hold_out_groups, says
from convsmith.data.masks.mask_contents import refuse_ignored_class
from convsmith.data.masks.mask_data import class_values
from convsmith.data.masks.mask_folder import open_mask_folder, part_for
from convsmith.data.masks.mask_pairs import is_there
from convsmith.data.parts import ALL_PARTS, Part, part_to_judge
from convsmith.data.source import Opener, Source
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from convsmith.recipe.mask_data import Masks


def _recognises(_root: Path) -> bool:
    return True  # opening says why it is not such a folder


def _open(root: Path, section: Data, share: Share | None) -> DataSet:
    if says(section.pattern, "label"):
        raise ConvsmithError(
            "data.pattern finds labels, but images with masks have none", "", "Let it find the group alone."
        )
    masks = section.masks or Masks()
    folder = open_mask_folder(root, masks, share if section.pattern is None else None)
    folder = hold_out_groups(folder, section.pattern, share)
    refuse_ignored_class(masks, class_values(masks, len(folder.classes)), folder.train.masks)
    return folder


def _labelled(root: Path, section: Data, classes: Sequence[str], wanted: Part | None) -> tuple[Samples, bool]:
    """The images of a part, see `part_to_judge`; those of training where there is no other."""
    masks = section.masks or Masks()
    names = {part: part_for(root, masks, part) for part in ALL_PARTS}
    there = {part: name for part, name in names.items() if name is not None and is_there(root, masks, name)}
    part = part_to_judge(root, wanted, there)
    chosen = there[part] if part is not None else masks.train
    folder = open_mask_folder(root, masks.model_copy(update={"train": chosen, "val": None, "extra": None}), None)
    require_classes(root, folder.classes, classes)
    return folder.train, part is not None


OPENER = Opener(_open, _labelled, keys=("pattern",))
SOURCE = Source(_recognises, {"segmentation": OPENER}, last=True)
