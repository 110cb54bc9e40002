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
from convsmith.data.split import Share
from convsmith.recipe.schema import Data


def _recognises(path: Path) -> bool:
    return find_format(path) is not None


def _open(path: Path, section: Data, share: Share | None) -> DataSet:
    return open_to_learn(path, section, share)


def _labelled(path: Path, section: Data, classes: Sequence[str], part: Part | None) -> tuple[Samples, bool]:
    dataset, is_part = open_to_judge(path, section, classes, part)
    require_classes(path, dataset.classes, classes)
    return dataset.train, is_part


def _task_of(_path: Path) -> str:
    return "segmentation"


SOURCE = Source(_recognises, {"segmentation": Opener(_open, _labelled)}, task_of=_task_of)
