"""Each task from each source that has data of it: one step ends in a bundle that predicts, and the run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convsmith as cs
from tests.data.every_source import CLASSES, COUNT, EVERY, Place, make, pixels
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training.tiny_model import name_tiny

FOLDS = 3
EACH = """\
description: two steps
source: the tests
batch: {size: 8, per_device: 8}
optimizer: {name: sgd, lr: 0.1}
schedule: {name: constant, epochs: 1}
precision: fp32
compile: false
"""
WHOLE = f"""{EACH}model: {{name: tiny}}
data: {{workers: 0, folds: {FOLDS}, fold: 1}}
augment: {{random_crop: {{size: 8}}}}
preprocess: {{resize: 8, crop: 8}}
"""
RECIPES = {
    "classification": WHOLE,
    "multilabel": f"{WHOLE}task: multilabel\n",
    "segmentation": f"""{EACH}task: segmentation
model: {{name: tiny_segmenter}}
data: {{workers: 0, folds: {FOLDS}, fold: 1, masks: {{classes: [ant, bee, cat]}}}}
augment: {{random_scale_crop: {{size: [8, 8], scale: [1, 1]}}}}
preprocess: {{method: whole}}
loss: {{name: cross_entropy}}
""",
}

Trained = tuple[cs.Run, Place, str]


QUICK = {("folder", "segmentation"), ("hf", "multilabel"), ("parquet", "classification")}


@pytest.fixture(
    scope="module",
    params=[pytest.param(it, id="-".join(it), marks=[] if it in QUICK else pytest.mark.slow) for it in EVERY],
)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    source, task = request.param
    root = tmp_path_factory.mktemp("data")
    recipe = tmp_path_factory.mktemp("recipes") / "mine.yaml"
    recipe.write_text(RECIPES[task])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVSMITH_CACHE", str(tmp_path_factory.mktemp("cache")))
        name_tiny(patch)
        name_tiny_segmenter(patch)
        place = make(root, source, task)
        yield cs.train(recipe, place, tmp_path_factory.mktemp("runs") / "run"), place, task


def test_the_bundle_predicts(trained: Trained, tmp_path: Path) -> None:
    run, _, _ = trained
    Image.fromarray(pixels(0)).save(tmp_path / "a.png")
    bundle = cs.load(run.bundle)
    assert tuple(bundle.labels) == CLASSES
    assert bundle.predict(tmp_path / "a.png").to_dict()


def test_the_bundle_is_judged_by_the_fold_that_was_held_out(trained: Trained) -> None:
    run, place, task = trained
    if isinstance(place, Path):  # a bundle does not judge what Python holds
        report = cs.evaluate(run.bundle, place)
        lost = 1 if task == "multilabel" else 0  # an image that is given back for its label
        assert report.held_out
        assert COUNT // FOLDS - lost <= report.images <= COUNT // FOLDS
    assert np.isfinite([line["loss"] for line in run.metrics]).all()


def test_the_run_goes_on_with_the_same_data(trained: Trained) -> None:
    run, place, _ = trained
    cs.train(run.recipe, place, run.path, extend=1)
    assert len([line for line in run.metrics if line["split"] == "train"]) == 2
