"""Small data sets of outlined areas."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.data.masks.mask_data import MaskData
from convsmith.data.open_data import open_data
from convsmith.recipe.data import Data
from convsmith.recipe.mask_data import Masks
from tests.data.folders import png

SQUARE = [1.0, 1.0, 4.0, 1.0, 4.0, 3.0, 1.0, 3.0]
"""Corners of an area of 3 x 2 pixels, in an image of 6 x 4 as all here are."""

LEFT = [0.0, 0.0, 3.0, 0.0, 3.0, 4.0, 0.0, 4.0]
"""Corners of the left half of the image."""


def write_images(root: Path, *names: str) -> Path:
    """Images of 6 x 4 pixels, each of another colour."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png((number, 100, 50)))
    return root


def coco(annotations: Sequence[Mapping[str, Any]], names: Sequence[str] = ("1.jpg",), **keys: Any) -> dict[str, Any]:
    """The content of a COCO file: annotations of the image 1 and the category 1 where they do not say another."""
    usual = {"image_id": 1, "category_id": 1, "iscrowd": 0}
    return {
        "images": [{"id": i, "file_name": name, "width": 6, "height": 4} for i, name in enumerate(names, 1)],
        "annotations": [{"id": i, **usual, **annotation} for i, annotation in enumerate(annotations, 1)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
        **keys,
    }


def write_coco(path: Path, content: Mapping[str, Any] | str) -> Path:
    """A COCO file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def opened(path: Path, val_fraction: float | None = None, **masks: Any) -> MaskData:
    """The data set at a path, where nothing is held out."""
    section = (
        Data(masks=Masks(**masks)) if val_fraction is None else Data(masks=Masks(**masks), val_fraction=val_fraction)
    )
    dataset = open_data("segmentation", section, path, hold_out=val_fraction is not None)
    assert isinstance(dataset, MaskData)
    return dataset


def mask(dataset: MaskData, i: int = 0) -> NDArray[np.uint8]:
    """The classes of the pixels of a training image."""
    return dataset.train.read(i)[1]
