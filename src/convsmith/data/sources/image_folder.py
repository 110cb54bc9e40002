"""A folder with a folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convsmith.data.dataset import DataSet, Samples
from convsmith.data.folders.image_folder import open_image_folder, open_labelled_folder
from convsmith.data.masks.mask_search import refuse_masks_as_classes
from convsmith.data.parts import Part
from convsmith.data.source import Opener, Source
from convsmith.data.split import Share
from convsmith.recipe.schema import Data


def _recognises(_root: Path) -> bool:
    return True  # opening says why it is not such a folder


def _open(root: Path, _section: Data, share: Share | None) -> DataSet:
    return open_image_folder(root, share)


def _labelled(root: Path, _section: Data, classes: Sequence[str], part: Part | None) -> tuple[Samples, bool]:
    return open_labelled_folder(root, classes, part)


SOURCE = Source(_recognises, {"classification": Opener(_open, _labelled, refuse_masks_as_classes)}, last=True)
