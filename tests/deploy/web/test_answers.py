"""The page's answers beside those of `predict`, from the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.bundle.calibration import Calibration, Sets, Unknown
from convsmith.bundle.format import Manifest
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.task import find_task
from convsmith.spec import Preprocess, WholeImage, Window
from tests.deploy.web.in_node import run_in_node

TASKS = ("classification", "multilabel", "segmentation")
BODY = """
const tasks = { classification, multilabel, segmentation };
const ofPixels = (pixels, [, channels, height, width]) => {
  const data = Float32Array.from(pixels, (value, i) => value / 32 + (i % width) / 4);
  return { data, dims: [1, channels, height, width] };
};
const answers = async ({ manifest, images, logits }) => {
  const task = tasks[manifest.task];
  const said = [];
  for (const [i, { width, height, pixels }] of images.entries()) {
    const image = { width, height, channels: 3, data: Uint8Array.from(pixels) };
    const run = async (...input) => (logits ? { data: Float32Array.from(logits[i]) } : ofPixels(...input));
    const answer = await task.answer(task.inputOf(image, manifest.preprocess), manifest, run);
    said.push([answer, task.decisions(answer, manifest)]);
  }
  return said;
};
return Promise.all(given.map(answers));
"""
LABELS = ("red", "green", "blue")


def infer_of_pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits that tell an image from its mirror, and in which nothing is rounded."""
    return (images / 32 + np.arange(images.shape[3]) / 4).astype(np.float32)


def manifest_of(task: str, spec: Any, **more: Any) -> Manifest:
    return Manifest.model_construct(
        task=task, labels=LABELS, preprocess=spec, **{"colours": None, "thresholds": None, "calibration": None, **more}
    )


class Case(NamedTuple):
    """What is asked: images of a bundle, and their logits where they are not those of `infer_of_pixels`."""

    manifest: Manifest
    images: list[Any]
    logits: Any = None

    def given(self) -> dict[str, Any]:
        keys = {"task", "labels", "preprocess", "thresholds", "calibration"}
        return {
            "manifest": self.manifest.model_dump(mode="json", include=keys),
            "images": [
                {"width": it.shape[1], "height": it.shape[0], "pixels": it.ravel().tolist()} for it in self.images
            ],
            "logits": None if self.logits is None else self.logits.tolist(),
        }


def check(folder: Path, *cases: Case) -> None:
    """Compare all answers, and the decisions that a proof compares."""
    found = run_in_node(folder, {f"{name}.js": name for name in TASKS}, BODY, [case.given() for case in cases])
    for (manifest, images, logits), answers in zip(cases, found, strict=True):
        task = find_task(manifest.task)
        for i, (answer, decisions) in enumerate(answers):
            infer = infer_of_pixels if logits is None else lambda _, row=logits[i : i + 1]: row
            [said] = task.ask(infer, [images[i].transpose(2, 0, 1)], ["image"], manifest)
            assert not isinstance(said, ImageError)
            assert decisions == np.asarray(task.decisions(said, manifest)).ravel().tolist(), manifest
            expected = task.to_json(task.answer(said, manifest))
            precision = 2e-3 if task.counted == "pixels" else 1e-12  # a pixel's probability is kept in 16 bits
            assert numbers(answer) == pytest.approx(numbers(expected), abs=precision), manifest
            assert words(answer) == words(expected), manifest


def numbers(answer: Any) -> list[float]:
    if isinstance(answer, dict):
        return [it for value in answer.values() for it in numbers(value)]
    if isinstance(answer, list | tuple):
        return [it for value in answer for it in numbers(value)]
    return [answer] if isinstance(answer, float | int) else []


def words(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {key: words(value) for key, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [words(value) for value in answer]
    return answer if isinstance(answer, str) else None


def calibration(**more: Any) -> Calibration:
    return Calibration(weights=(0.7, 1.2, 0.9), bias=(0.1, -0.2, 0.0), images={}, measured={}, **more)


CALIBRATIONS: dict[str, dict[str, Any]] = {
    "plain": {"thresholds": (0.5, 0.9, 0.0)},
    "temperature": {"calibration": Calibration(weights=(0.5,), images={}, measured={})},
    "vector": {
        "calibration": calibration(sets=Sets(coverage=0.9, thresholds=(0.2, 0.3, 0.4)), unknown=Unknown(threshold=0.6)),
        "thresholds": (0.5, 0.9, 1.0),
    },
}


@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_classes_have_the_same_probabilities_sets_and_thresholds(tmp_path: Path, task: str) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (20, 3)).astype(np.float32)
    logits[0] = 1.0  # equal ones
    images = [np.zeros((4, 4, 3), np.uint8)] * len(logits)
    spec = Preprocess(resize=4, crop=4)
    check(tmp_path, *(Case(manifest_of(task, spec, **it), images, logits) for it in CALIBRATIONS.values()))


SPECS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "another size": {"base_size": 20},
    "corners": {"base_size": 20, "align_corners": True},
    "warped": {"base_size": 16, "warp": True},
    "sizes": {"scales": (0.5, 1.0, 1.5), "flip": True, "mirrored_classes": ((0, 2),)},
    "windows": {"window": Window(size=(8, 10))},
    "windows that are shifted": {"window": Window(size=(8, 10), stride=(5, 4), border="shift"), "base_size": 30},
    "some windows": {"window": Window(size=(8, 10), above_scale=1.0), "scales": (1.0, 2.0)},
    "one window": {"window": Window(size=(64, 64)), "flip": True},
}


@pytest.mark.parametrize("calibrated", [False, True])
def test_masks_are_the_same_however_the_image_is_looked_at(tmp_path: Path, calibrated: bool) -> None:
    more = {"calibration": calibration()} if calibrated else {}
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (*size, 3), np.uint8) for size in ((13, 17), (17, 9), (1, 30))]
    specs = [WholeImage(method="whole", **it) for it in SPECS.values()]
    check(tmp_path, *(Case(manifest_of("segmentation", spec, **more), images) for spec in specs))


def test_equal_logits_give_the_lower_class(tmp_path: Path) -> None:
    manifest = manifest_of("segmentation", WholeImage(method="whole"))
    check(tmp_path, Case(manifest, [np.full((9, 9, 3), 7, np.uint8)]))
