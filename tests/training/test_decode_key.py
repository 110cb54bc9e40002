"""A training whose recipe says how images are decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

import convsmith as cs
from convsmith.errors import ConvsmithError

KEYS = ["schedule.epochs=1", "model.num_classes=null", "batch.size=4", "data.workers=0", "augment.random_crop.size=8"]


@pytest.fixture(autouse=True)
def _no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convsmith.training.train.pack", lambda *_, **__: None)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six JPEGs of 96 x 80 pixels in two classes."""
    root = tmp_path_factory.mktemp("photographs")
    for i in range(6):
        path = root / f"c{i % 2}" / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((80, 96, 3), 40 * i, np.uint8)).save(path)
    return root


@pytest.mark.parametrize(("decode", "heights"), [("exact", {80}), ("scaled", {20})])
def test_training_images_are_decoded_as_the_recipe_says(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decode: str, heights: set[int]
) -> None:
    decoded: set[int] = set()
    of = simplejpeg.decode_jpeg

    def noted(*arguments: object, **keys: int) -> object:
        pixels = of(*arguments, **keys)
        if decode == "exact" or "min_height" in keys:  # validation decodes whole images in both
            decoded.add(len(pixels))
        return pixels

    monkeypatch.setattr(simplejpeg, "decode_jpeg", noted)
    run = cs.train(cs.load_recipe("digits", [*KEYS, f"data.decode={decode}"]), photographs, tmp_path / "run")
    assert decoded == heights
    other = "scaled" if decode == "exact" else "exact"
    assert run.recipe.data.decode == decode
    with pytest.raises(ConvsmithError, match=r"data\.decode"):
        cs.train(cs.load_recipe("digits", [*KEYS, f"data.decode={other}"]), photographs, tmp_path / "run")
