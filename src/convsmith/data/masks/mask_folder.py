"""A folder of images and masks as a data set. The rules are in docs/segmentation-data.md."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from convsmith.data.dataset import Split
from convsmith.data.folders.scan import list_folder, others_note
from convsmith.data.masks.mask_data import MaskData, make_mask_data
from convsmith.data.masks.mask_pairs import Pair, find_pairs, find_tree
from convsmith.data.masks.pairs import pack_paths
from convsmith.data.split import Share, split_files
from convsmith.errors import ConvsmithError, printable
from convsmith.recipe.mask_data import Masks

_MISNAMED_VAL = ("valid", "validation", "test")


def open_mask_folder(root: Path, masks: Masks, share: Share | None) -> MaskData:
    """Find the images and masks of each part, and the classes. Pixels are read for errors only.

    Args:
        root: the data folder.
        masks: the recipe's section.
        share: what is held out of the training part where there is no validation part; None for a training without
            validation, which holds nothing out.

    Raises:
        ConvsmithError: a part is missing, empty or incomplete, or the classes are not known.
    """
    root = root.absolute()
    list_folder(root)  # says why it cannot be read
    others: Counter[str] = Counter()
    train = find_pairs(root, masks, masks.train, others)
    val, notes = [], []
    if masks.val is not None and not _is_left_out(root, masks):
        val = find_pairs(root, masks, masks.val, others)
    elif share is not None:
        total = len(train)
        train, val = _hold_out(root, train, share)
        notes = [f"no part for validation: held out {len(val)} of {total} images, the same ones each time"]
    extra = find_pairs(root, masks, masks.extra, others) if masks.extra is not None else None
    if others:
        notes.insert(0, others_note(others))
    found: dict[Split, list[Pair] | None] = {"train": train, "val": val, "extra": extra}
    parts = {split: pack_paths(root, pairs) for split, pairs in found.items() if pairs is not None}
    return make_mask_data(root, masks, parts, notes)


def _is_left_out(root: Path, masks: Masks) -> bool:
    """Whether the folders are those of someone who has no validation part, and leaves it to the program."""
    if masks.layout != "folders" or masks.val != "val" or find_tree(root, masks, masks.val) is not None:
        return False
    for name in _MISNAMED_VAL:
        if find_tree(root, masks, name) is not None:
            raise ConvsmithError(
                f"{printable(root)} has train and `{name}`, but no val",
                "",
                f"Set data.masks.val={name}; or data.masks.val=null, to hold a share of train out.",
            )
    return True


def _hold_out(root: Path, pairs: list[Pair], share: Share) -> tuple[list[Pair], list[Pair]]:
    _, held_out = split_files([image for image, _ in pairs], share)
    chosen = set(held_out)
    if not chosen:
        raise ConvsmithError(
            f"no images left for validation in {printable(root)}", "there is one image only", "Add images."
        )
    return [pair for pair in pairs if pair[0] not in chosen], [pair for pair in pairs if pair[0] in chosen]
