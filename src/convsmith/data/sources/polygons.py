"""Images with areas outlined in COCO's JSON, labelme's JSON, CVAT's XML or YOLO's text files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convsmith.data.classes import require_classes
from convsmith.data.dataset import DataSet, Samples
from convsmith.data.parts import Part
from convsmith.data.polygons.formats import find_format
from convsmith.data.polygons.polygon_data import open_to_judge, open_to_learn
from convsmith.data.source import Opener, Source
from convsmith.data.sources import mask_folder
from convsmith.data.split import Share
from convsmith.recipe.data import Data
from convsmith.recipe.mask_data import Masks


def _recognises(path: Path) -> bool:
    has_masks = (path / "images").is_dir() and (path / "masks").is_dir()
    return not has_masks and find_format(path) is not None


def _open(path: Path, section: Data, share: Share | None) -> DataSet:
    if _are_files(path, section):
        return mask_folder.OPENER.open(path, section, share)
    return open_to_learn(path, section, share)


def _labelled(path: Path, section: Data, classes: Sequence[str], part: Part | None) -> tuple[Samples, bool]:
    if _are_files(path, section):
        return mask_folder.OPENER.labelled(path, section, classes, part)
    dataset, is_part = open_to_judge(path, section, classes, part)
    require_classes(path, dataset.classes, classes)
    return dataset.train, is_part


def _are_files(path: Path, section: Data) -> bool:
    """Whether the recipe says where files of masks are, in a folder that holds outlines, too, as COCO's may."""
    masks, usual = section.masks or Masks(), Masks()
    return path.is_dir() and (masks.layout, masks.mask_pattern) != (usual.layout, usual.mask_pattern)


def _task_of(_path: Path) -> str:
    return "segmentation"


SOURCE = Source(_recognises, {"segmentation": Opener(_open, _labelled)}, task_of=_task_of)
