"""A folder with a folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.data.dataset import DataSet, Samples
from convsmith.data.folders.folder_index import open_large_folder
from convsmith.data.folders.image_folder import open_labelled_folder
from convsmith.data.folders.pattern import hold_out_groups, judge_by_name, open_labelled_by_name, says
from convsmith.data.masks.mask_search import refuse_masks_as_classes
from convsmith.data.parts import Part
from convsmith.data.source import Opener, Source
from convsmith.data.split import Share
from convsmith.recipe.data import Data


def _recognises(_root: Path) -> bool:
    return True  # opening says why it is not such a folder


def _open(root: Path, section: Data, share: Share | None) -> DataSet:
    if section.pattern is None:
        return open_large_folder(root, share, _suffixes(section))
    if says(section.pattern, "label"):
        return open_labelled_by_name(root, section.pattern, share)
    return hold_out_groups(open_large_folder(root, None, _suffixes(section)), section.pattern, share)


def _labelled(root: Path, section: Data, classes: Sequence[str], part: Part | None) -> tuple[Samples, bool]:
    if section.pattern is not None and says(section.pattern, "label"):
        return judge_by_name(root, section.pattern, classes, part)
    return open_labelled_folder(root, classes, part, _suffixes(section))


def _suffixes(section: Data) -> frozenset[str]:
    """How names of images end; of RGB there are hardly any as arrays, but often arrays beside images."""
    return IMAGE_SUFFIXES if section.channels == 3 else IMAGE_SUFFIXES | {".npy"}


SOURCE = Source(
    _recognises, {"classification": Opener(_open, _labelled, refuse_masks_as_classes, keys=("pattern",))}, last=True
)
