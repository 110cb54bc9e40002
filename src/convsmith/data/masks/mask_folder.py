"""A folder of images and masks as a data set. The rules are in docs/segmentation-data.md."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from convsmith.data.dataset import Split
from convsmith.data.folders.scan import list_folder, others_note
from convsmith.data.kept_index import Finding, open_kept
from convsmith.data.masks.mask_data import MaskData, make_mask_data
from convsmith.data.masks.mask_pairs import Pair, find_pairs, find_tree, is_there
from convsmith.data.masks.pairs import pack_paths
from convsmith.data.packed_data import FoundPairs, Home, pack_parts, unpack_parts
from convsmith.data.parts import VAL_NAMES, Part, val_folder
from convsmith.data.split import Share, split_files
from convsmith.errors import ConvsmithError, printable
from convsmith.recipe.mask_data import LIST_SUFFIXES, Masks


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
    finding = Finding(lambda: find_parts(root, masks, share), pack_parts, partial(unpack_parts, Home(root, root)))
    parts, notes = open_kept(root, f"masks {share} {masks.model_dump_json()}", finding)
    return make_mask_data(root, masks, parts, notes)


def find_parts(root: Path, masks: Masks, share: Share | None) -> FoundPairs:
    """The images and masks of each split of `open_mask_folder`, without an index of those found before."""
    list_folder(root)  # says why it cannot be read
    others: Counter[str] = Counter()
    train = find_pairs(root, masks, masks.train, others)
    val, notes = [], []
    if (of_val := part_for(root, masks, "val")) is not None:
        val = find_pairs(root, masks, of_val, others)
    elif share is not None:
        total = len(train)
        train, val = _hold_out(root, train, share)
        notes = [f"no part for validation: held out {len(val)} of {total} images, the same ones each time"]
    extra = find_pairs(root, masks, masks.extra, others) if masks.extra is not None else None
    if others:
        notes.insert(0, others_note(others))
    found: dict[Split, list[Pair] | None] = {"train": train, "val": val, "extra": extra}
    return {split: pack_paths(root, pairs) for split, pairs in found.items() if pairs is not None}, notes


def part_for(root: Path, masks: Masks, part: Part) -> str | None:
    """The name, or the list, of a part; None where there is none.

    Folders of someone who has no validation part, and leaves it to the program, may lack `val`, or call it `valid` or
    `validation`. What is named by the recipe is taken to be there.
    """
    if part == "train":
        return masks.train
    if part == "test":
        endings = ("", *LIST_SUFFIXES)
        return next((name for ending in endings if is_there(root, masks, name := f"test{ending}")), None)
    if masks.layout != "folders" or masks.val != "val":
        return masks.val
    return val_folder(root, [name for name in VAL_NAMES if find_tree(root, masks, name) is not None])


def _hold_out(root: Path, pairs: list[Pair], share: Share) -> tuple[list[Pair], list[Pair]]:
    _, held_out = split_files([image for image, _ in pairs], share)
    chosen = set(held_out)
    if not chosen:
        raise ConvsmithError(
            f"no images left for validation in {printable(root)}", "there is one image only", "Add images."
        )
    return [pair for pair in pairs if pair[0] not in chosen], [pair for pair in pairs if pair[0] in chosen]
