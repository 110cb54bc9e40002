"""What a validation notes of images and answers, for later images to be held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from convsmith.bundle.reference import FEWEST, Reference
from convsmith.spec import WholeImage
from convsmith.tasks.base import ValidationResults
from convsmith.tasks.classification import EvaluatedImages, JudgedImages
from convsmith.tasks.multilabel import JudgedLabels
from convsmith.tasks.segmentation import JudgedMasks

COUNT, CLASSES = 60, 3
IMAGES = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (COUNT, 3, 4, 4), np.uint8))


def by_channel(images: NDArray[Any]) -> NDArray[np.float32]:
    """Logits [N, 3]: how much of each colour there is."""
    logits: NDArray[np.float32] = np.asarray(images.mean((2, 3)) / 20 - 6, np.float32)
    return logits


def by_pixel(images: NDArray[Any]) -> NDArray[np.float32]:
    """Logits [N, 3, H, W]: the colours."""
    logits: NDArray[np.float32] = images.astype(np.float32)
    return logits


def one_class() -> torch.Tensor:
    return torch.arange(COUNT) % CLASSES


def several() -> torch.Tensor:
    return (torch.arange(COUNT * CLASSES).reshape(COUNT, CLASSES) % 4 == 0).byte()


def masks() -> torch.Tensor:
    return torch.zeros(COUNT, 4, 4, dtype=torch.uint8)


def judged_masks() -> JudgedMasks:
    return JudgedMasks(CLASSES, WholeImage(method="whole"))


Case = tuple[Callable[[], ValidationResults], Callable[[NDArray[Any]], NDArray[np.float32]], torch.Tensor]
CASES: dict[str, Case] = {
    "classification": (JudgedImages, by_channel, one_class()),
    "with further figures": (lambda: EvaluatedImages(["ece"]), by_channel, one_class()),
    "multilabel": (JudgedLabels, by_channel, several()),
    "segmentation": (judged_masks, by_pixel, masks()),
}


def judged(case: Case, rows: slice) -> ValidationResults:
    new, infer, targets = case
    results = new()
    for part in torch.split(torch.arange(COUNT)[rows], 7):
        results.judge(infer, IMAGES[part], targets[part])
    return results


def reference_of(results: ValidationResults) -> Reference:
    return Reference.model_validate(results.tuned()["reference"], strict=False)


@pytest.mark.parametrize("name", CASES)
def test_every_image_counts_as_one_or_less_and_has_a_brightness(name: str) -> None:
    reference = reference_of(judged(CASES[name], slice(None)))
    assert reference.images == COUNT
    assert reference.classes
    assert len(reference.classes) == CLASSES
    assert 0 < sum(reference.classes) <= COUNT + 1e-9
    assert reference.brightness
    assert sum(reference.brightness.counts) == COUNT


@pytest.mark.parametrize("name", CASES)
def test_who_judged_which_image_changes_nothing(name: str) -> None:
    parts = [judged(CASES[name], rows) for rows in (slice(40, None), slice(0, 40))]
    parts[0].merge(parts[1])
    assert reference_of(parts[0]) == reference_of(judged(CASES[name], slice(None)))


@pytest.mark.parametrize("name", CASES)
def test_too_few_images_say_nothing(name: str) -> None:
    assert "reference" not in judged(CASES[name], slice(0, FEWEST - 1)).tuned()


def test_classes_of_images_are_those_of_the_highest_logit() -> None:
    said = by_channel(IMAGES.numpy()).argmax(1)
    found = reference_of(judged(CASES["classification"], slice(None)))
    assert found.classes == tuple(np.bincount(said, minlength=CLASSES))


def test_classes_of_masks_are_shares_of_their_pixels() -> None:
    said = by_pixel(IMAGES.numpy()).argmax(1)
    found = reference_of(judged(CASES["segmentation"], slice(None)))
    assert found.classes == pytest.approx([(said == k).mean() * COUNT for k in range(CLASSES)])
    assert found.confidence is None


def test_several_labels_share_an_image_by_the_thresholds_that_are_tuned() -> None:
    tuned = judged(CASES["multilabel"], slice(None)).tuned()
    there = 1 / (1 + np.exp(-by_channel(IMAGES.numpy()))) >= tuned["thresholds"]
    shares = there / np.maximum(1, there.sum(1, keepdims=True))
    assert tuned["reference"]["classes"] == pytest.approx(shares.sum(0))
