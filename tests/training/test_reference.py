"""A training leaves in its bundle how its validation images look, and what the model says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import convsmith as cs
from convsmith.bundle.reference import brightness
from tests.training.conftest import SMALL

COUNT = 30  # validation images of each class


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The data, and a run of two steps on it."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs") / "run"
    images, targets = load_digits(return_X_y=True)
    for digit in range(2):
        for i, pixels in enumerate(images[targets == digit][: COUNT + 8]):
            folder = data / ("val" if i < COUNT else "train") / str(digit)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels.reshape(8, 8) * 255 / 16).astype(np.uint8)).save(folder / f"{i:02}.png")
    cs.train("digits", data, out, overrides=[*SMALL, "schedule.epochs=1"])
    return data, out


def test_its_classes_are_those_that_the_bundle_predicts(run: tuple[Path, Path]) -> None:
    data, out = run
    bundle: cs.Bundle[cs.Classification] = cs.load(out / "bundle")
    said = [bundle.predict(path).class_id for path in sorted((data / "val").rglob("*.png"))]
    reference = bundle.manifest.reference
    assert reference
    assert reference.images == 2 * COUNT
    assert reference.classes == tuple(np.bincount(said, minlength=2))


def test_its_brightness_is_that_of_the_preprocessed_images(run: tuple[Path, Path]) -> None:
    data, out = run
    bundle: cs.Bundle = cs.load(out / "bundle")
    lights = [brightness(bundle.preprocess(path)) for path in (data / "val").rglob("*.png")]
    assert bundle.manifest.reference
    known = bundle.manifest.reference.brightness
    assert known
    assert known.edges == pytest.approx(np.quantile(lights, [1 / 3, 2 / 3]))  # 20 images to a bin
