"""Masks of calibrated bundles: the same classes, with the probability of each."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import convsmith as cs
from convsmith.bundle.calibration import Calibration
from convsmith.bundle.classification import softmax
from convsmith.bundle.segment import segment
from convsmith.bundle.segment_scored import mask_of, segment_scored
from convsmith.bundle.tasks.segmentation import MaskAnswer
from convsmith.cli.main import main
from convsmith.serve.app import create_app
from convsmith.spec import WholeImage, Window
from tests.noisy_colours import write_noisy_masks
from tests.serve.running import PATIENCE, served
from tests.stripes import stripes_png, write_pixel_bundle

CLASSES = 4
LOOKS = {
    "whole": WholeImage(method="whole"),
    "windows": WholeImage(method="whole", window=Window(size=(16, 16), stride=(8, 8))),
    "scales": WholeImage(method="whole", scales=(0.5, 1.0, 1.5), flip=True),
}


def calibration(*weights: float, bias: tuple[float, ...] | None = None) -> Calibration:
    return Calibration(weights=weights, bias=bias, images={"scaling": 9}, measured={})


def run(images: NDArray[Any]) -> NDArray[np.float32]:
    """Logits of four classes: the colours of a pixel, and its darkness."""
    x = images.astype(np.float32)
    return np.concatenate([x, 255 - x.mean(axis=1, keepdims=True)], axis=1) * np.float32(0.1) - 5


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    return np.random.RandomState(0).randint(0, 256, (40, 52, 3)).astype(np.uint8)


@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("weight", [0.03, 0.3, 1.0, 4.0])
def test_a_temperature_changes_no_class_however_the_image_is_looked_at(
    image: NDArray[np.uint8], looks: str, weight: float
) -> None:
    found = segment_scored(image, LOOKS[looks], run, CLASSES, calibration(weight))
    np.testing.assert_array_equal(mask_of(found), segment(image, LOOKS[looks], run, CLASSES))


def own_scores(image: NDArray[np.uint8], own: Calibration) -> NDArray[np.float64]:
    return softmax(own.scaled(run(image.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)))


@pytest.mark.parametrize(
    "own", [calibration(0.4), calibration(0.2, 0.5, 0.3, 0.6, bias=(0.5, 0, 2.0, -1))], ids=["one", "each"]
)
@pytest.mark.parametrize("looks", ["whole", "one window"])
def test_scores_are_the_probabilities_of_the_scaled_logits(
    image: NDArray[np.uint8], own: Calibration, looks: str
) -> None:
    """Through windows that do not overlap, scores are exp(logits) instead of logits."""
    spec = LOOKS.get(looks, WholeImage(method="whole", window=Window(size=(20, 13), stride=(20, 13))))
    found, expected = segment_scored(image, spec, run, CLASSES, own), own_scores(image, own)
    np.testing.assert_array_equal(mask_of(found), expected.argmax(axis=2))
    np.testing.assert_allclose(found["score"].astype(np.float64), expected.max(axis=2), atol=1e-3)


@pytest.mark.parametrize("offset", [-3000.0, 3000.0])
def test_large_logits_overflow_nowhere(image: NDArray[np.uint8], offset: float) -> None:
    def shifted(images: NDArray[Any]) -> NDArray[np.float32]:
        return run(images) + np.float32(offset)

    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = segment_scored(image, LOOKS["whole"], shifted, CLASSES, calibration(1.0))
    np.testing.assert_allclose(found["score"].astype(float), own_scores(image, calibration(1.0)).max(axis=2), atol=2e-3)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One that is not calibrated, and one that is."""
    folder = tmp_path_factory.mktemp("bundles")
    return write_pixel_bundle(folder / "plain"), write_pixel_bundle(folder / "scored", calibration=calibration(0.01))


def test_each_class_has_the_mean_probability_of_its_pixels(bundles: tuple[Path, Path]) -> None:
    png = stripes_png("red", "green", "blue")
    plain, scored = (cs.load(path).predict(png).to_dict() for path in bundles)
    for before, after in zip(plain["classes"], scored["classes"], strict=True):
        assert after == {**before, "score": after["score"]}
        logits = np.array([0.0, 0, 12.8 if before["label"] == "green" else 25.5])
        assert after["score"] == pytest.approx(softmax(logits * 0.01)[2], abs=1e-3)


def test_evaluate_gives_the_same_figures(bundles: tuple[Path, Path], tmp_path: Path) -> None:
    data = write_noisy_masks(tmp_path / "data", 3)
    plain, scored = (cs.evaluate(path, data) for path in bundles)
    assert scored.to_dict() == plain.to_dict()


def test_probabilities_of_a_calibrated_bundle_are_as_right_as_they_say(tmp_path: Path) -> None:
    """Those that `predict` gives of all pixels, of images that had no part in the calibration."""
    bundle = write_pixel_bundle(tmp_path / "b")
    cs.calibrate(bundle, write_noisy_masks(tmp_path / "data", 20))
    others = write_noisy_masks(tmp_path / "others", 4, side=64)
    loaded: cs.Bundle[cs.Segmentation] = cs.load(bundle)
    scores, right = [], []
    for number in range(4):
        answer = loaded.predict(others / "images" / "val" / f"{number}.png")
        true = np.asarray(Image.open(others / "masks" / "val" / f"{number}.png"))
        assert answer.scores is not None
        scores.append(answer.scores[true != 255].astype(float))
        right.append((answer.mask == true)[true != 255])
    assert np.concatenate(scores).mean() == pytest.approx(np.concatenate(right).mean(), abs=0.02)


def test_the_server_and_the_command_say_them_too(
    bundles: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    png = stripes_png("red", "green")
    expected = cs.load(bundles[1]).predict(png).to_dict()["classes"]
    with served(create_app(bundles[1])) as (_, url):
        said = httpx.post(f"{url}/predict", files={"image": ("a.png", png)}, timeout=PATIENCE).json()
    MaskAnswer.model_validate(said, strict=False)
    assert said["classes"] == expected
    (tmp_path / "a.png").write_bytes(png)
    words = ["predict", str(bundles[1]), str(tmp_path / "a.png"), "--format", "csv", "--out", str(tmp_path / "out")]
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(words)
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert [float(row["score"]) for row in rows] == [it["score"] for it in expected]
    assert json.loads((tmp_path / "out" / "a.json").read_text())["classes"] == expected
