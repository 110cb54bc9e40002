"""The same images from every source that has data of a task."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from convsmith.data.dataset import DataSet
from convsmith.data.memory.in_memory import Held, InMemory
from convsmith.data.open_data import data_of_recipe
from convsmith.data.shards.pack import pack
from convsmith.recipe.load import load_recipe

COUNT = 18
CLASSES = ("ant", "bee", "cat")
RECIPES = {"classification": "digits", "multilabel": "resnet18-multilabel", "segmentation": "digit-scenes"}
Place = Path | InMemory


def pixels(i: int) -> NDArray[np.uint8]:
    """Image i, uint8 `[8, 8, 3]`, noise that no other has."""
    return np.random.RandomState(i).randint(0, 256, (8, 8, 3), np.uint8)


def target_of(task: str, i: int) -> str | list[str] | NDArray[np.uint8]:
    """The label, the labels or the mask of image i."""
    if task == "classification":
        return CLASSES[i % 3]
    if task == "multilabel":
        return [label for k, label in enumerate(CLASSES) if i % (k + 2) == 0]
    return ((np.arange(64).reshape(8, 8) + i) % 3).astype(np.uint8)


def folder(root: Path, task: str) -> Path:
    """A folder for each class; or one of images, and one of masks."""
    for i in range(COUNT):
        target = target_of(task, i)
        if isinstance(target, np.ndarray):
            _save(root / f"images/{i:02}.png", pixels(i))
            _save(root / f"masks/{i:02}.png", target)
        else:
            _save(root / f"{target}/{i:02}.png", pixels(i))
    return root


def jsonl(root: Path, task: str) -> Path:
    """A table of JSON Lines."""
    (root / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows(root, task)))
    return root / "table.jsonl"


def parquet_file(root: Path, task: str) -> Path:
    """A table in a Parquet file."""
    parquet.write_table(pa.Table.from_pylist(_rows(root, task)), root / "table.parquet", row_group_size=5)
    return root / "table.parquet"


def shards(root: Path, task: str) -> Path:
    """Tar shards."""
    pack(opened(jsonl(root, task), task, "eval=false"), root / "shards", 10_000)
    (root / "shards/train-000000.tar").rename(root / "shards/part-0.tar")  # its name said a split
    for number, shard in enumerate(sorted(root.glob("shards/train-*.tar")), 1):
        shard.rename(root / f"shards/part-{number}.tar")
    return root / "shards"


def hf(root: Path, task: str) -> Path:
    """A data set of Hugging Face, saved to disk."""
    columns: dict[str, Any] = {"image": [Image.fromarray(pixels(i)) for i in range(COUNT)]}
    targets = [target_of(task, i) for i in range(COUNT)]
    if task == "segmentation":
        columns["mask"] = [Image.fromarray(np.asarray(target)) for target in targets]
    else:
        columns["label" if task == "classification" else "labels"] = targets
    datasets.Dataset.from_dict(columns).save_to_disk(root / "saved")
    return root / "saved"


def memory(_root: Path, task: str) -> InMemory:
    """Images that Python holds."""
    return InMemory(Held([pixels(i) for i in range(COUNT)], [target_of(task, i) for i in range(COUNT)]))


Make = Callable[[Path, str], Place]
SOURCES: dict[str, tuple[Make, Sequence[str]]] = {
    "folder": (folder, ("classification", "segmentation")),
    "jsonl": (jsonl, tuple(RECIPES)),
    "parquet": (parquet_file, tuple(RECIPES)),
    "shards": (shards, tuple(RECIPES)),
    "hf": (hf, tuple(RECIPES)),
    "memory": (memory, tuple(RECIPES)),
}
"""How the images get there, and the tasks, by name."""

EVERY = [(source, task) for source, (_, tasks) in SOURCES.items() for task in tasks]


def make(root: Path, source: str, task: str) -> Place:
    """The images in a source."""
    return SOURCES[source][0](root, task)


def opened(place: Place, task: str, *overrides: str) -> DataSet:
    """The data set as a training would open it."""
    return data_of_recipe(load_recipe(RECIPES[task], [*words_for(task), *overrides]), place)


def words_for(task: str) -> list[str]:
    """The overrides that a recipe of `RECIPES` needs for these images."""
    if task == "segmentation":
        return ["model.num_classes=3", "data.masks.classes=[ant,bee,cat]"]
    return [] if task == "multilabel" else ["model.num_classes=3"]


def _rows(root: Path, task: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for i in range(COUNT):
        target, image = target_of(task, i), f"photos/{i:02}.png"
        _save(root / image, pixels(i))
        if isinstance(target, np.ndarray):
            _save(root / f"marked/{i:02}.png", target)
            rows.append({"image": image, "mask": f"marked/{i:02}.png"})
        else:
            rows.append({"image": image, "label" if isinstance(target, str) else "labels": target})
    return rows


def _save(path: Path, content: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(content).save(path)
