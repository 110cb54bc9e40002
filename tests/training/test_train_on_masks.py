"""A training on masks of each source that is not a folder, from its first step over the bundle to the evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convsmith as cs
from convsmith.bundle.segmentation import Segmentation
from convsmith.data.open_data import open_data
from convsmith.data.shards.pack import pack
from convsmith.recipe.data import Data
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training.scenes import CLASSES, scenes_recipe, write_scenes
from tests.training.test_extra_phase import Killed, Killer
from tests.training.test_interrupted import assert_same_run

pytestmark = pytest.mark.slow

WORDS = ("schedule.epochs=2", "checkpoint.every_steps=1", "data.masks.unseen_classes=allow")


def table(root: Path) -> Path:
    """The scenes as rows, with masks in TIFF."""
    rows = []
    for image in sorted(root.glob("images/*/*.png")):
        mask = root / "masks" / image.relative_to(root / "images")
        Image.open(mask).save(mask.with_suffix(".tif"))
        rows.append(f"{image.relative_to(root)}\t{mask.with_suffix('.tif').relative_to(root)}\t{image.parent.name}\n")
    (root / "scenes.tsv").write_text("".join(["image\tmask\tsplit\n", *rows]))
    return root / "scenes.tsv"


def shards(root: Path) -> Path:
    pack(open_data("segmentation", Data(), root), root.parent / "shards", 20_000)
    return root.parent / "shards"


def coco(root: Path) -> Path:
    """The scenes as runs of pixels, what does not count as crowds."""
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    for part in ("train", "val"):
        images: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for number, path in enumerate(sorted((root / "images" / part).iterdir())):
            mask = np.asarray(Image.open(root / "masks" / part / path.name))
            height, width = mask.shape
            images.append({"id": number, "file_name": path.name, "width": width, "height": height})
            for value in (1, 2, 255):
                flat = np.concatenate([[0], (mask == value).T.reshape(-1).astype(int)])
                counts = np.diff([0, *np.flatnonzero(np.diff(flat)), mask.size]).tolist()
                rle = {"size": [height, width], "counts": counts}
                entry = {
                    "image_id": number,
                    "category_id": value % 255,
                    "iscrowd": int(value == 255),
                    "segmentation": rle,
                }
                annotations.append({"id": len(annotations), **entry})
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"images/{part}/_annotations.coco.json").write_text(json.dumps(content))
    return root / "images"


@pytest.fixture(scope="module", params=[table, shards, coco], ids=lambda make: make.__name__)
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    make: Callable[[Path], Path] = request.param
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVSMITH_CACHE", str(root / "cache"))
        name_tiny_segmenter(patch)
        yield make(write_scenes(root / "scenes"))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> cs.Run:
    folder = tmp_path_factory.mktemp("runs")
    return cs.train(scenes_recipe(folder, *WORDS), data, folder / "run")


def test_the_bundle_is_judged_by_the_masks_of_val_and_predicts(run: cs.Run, data: Path) -> None:
    report = cs.evaluate(run.bundle, data)
    assert (report.images, report.held_out, report.labels) == (5, True, CLASSES)
    judged = [line["miou"] for line in run.metrics if line["split"] == "val"]
    assert report.miou == pytest.approx(max(judged), abs=0.01)
    answer = cs.load(run.bundle).predict(np.zeros((20, 20, 3), np.uint8))
    assert isinstance(answer, Segmentation)
    assert set(np.unique(answer.mask)) <= {0, 1, 2}


def test_a_killed_run_goes_on_bit_for_bit_with_another_number_of_workers(
    run: cs.Run, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(Killed):
        cs.train(scenes_recipe(tmp_path, *WORDS), data, out, observers=[Killer(4)])
    cs.train(scenes_recipe(tmp_path, *WORDS, "data.workers=2"), data, out)
    assert_same_run(run.path, out)
