"""Figures of finished models of several labels, against scikit-learn and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    hamming_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)
from torchmetrics.functional.classification import binary_calibration_error

from convsmith.bundle.figures.multilabel_evaluation import MORE, MultilabelEvaluation
from convsmith.bundle.multilabel import probabilities_of

CLASSES = 4


def drawn(seed: int, images: int = 60) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Logits that know a little, and labels: each class is on some images, and one image has none."""
    random = np.random.RandomState(seed)
    targets = (random.rand(images, CLASSES) < 0.3).astype(np.uint8)
    targets[:CLASSES], targets[CLASSES] = np.eye(CLASSES), 0
    logits = random.standard_normal(targets.shape) + 1.5 * targets - 0.5
    return logits.astype(np.float32), targets


def gathered(logits: NDArray[np.float32], targets: NDArray[np.uint8], batch: int = 7) -> MultilabelEvaluation:
    results = MultilabelEvaluation()
    for first in range(0, len(targets), batch):
        results.update(logits[first : first + batch], targets[first : first + batch])
    return results


@given(st.integers(0, 2**31))
@settings(max_examples=20)
def test_the_figures_are_scikit_learns(seed: int) -> None:
    logits, targets = drawn(seed)
    found, said = gathered(logits, targets).compute(), probabilities_of(logits) >= 0.5
    expected = {
        "auroc_macro": roc_auc_score(targets, logits, average="macro"),
        "auroc_micro": roc_auc_score(targets, logits, average="micro"),
        "f1_samples": f1_score(targets, said, average="samples", zero_division=1),
        "hamming_loss": hamming_loss(targets, said),
        "brier": float(np.square(probabilities_of(logits) - targets).mean()),
    }
    for average in ("macro", "micro", "weighted"):
        values = precision_recall_fscore_support(targets, said, average=average, zero_division=0)
        expected |= {f"{name}_{average}": values[i] for i, name in enumerate(("precision", "recall", "f1"))}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 2**31))
@settings(max_examples=20)
def test_the_calibration_error_is_torchmetrics(seed: int) -> None:
    logits, targets = drawn(seed)
    probabilities = torch.from_numpy(probabilities_of(logits).ravel())
    expected = binary_calibration_error(probabilities, torch.from_numpy(targets.ravel().astype(np.int64)), n_bins=15)
    assert gathered(logits, targets).compute()["ece"] == pytest.approx(float(expected), abs=1e-6)


def test_figures_of_weighed_images_are_those_of_images_named_so_often() -> None:
    results = gathered(*drawn(1))
    numbers = np.random.RandomState(2).randint(0, 60, 60)
    weighed, named = (
        results.weigher()(np.bincount(numbers, minlength=60).astype(float)),
        results.select(numbers).compute(),
    )
    weighed.pop("adaptive_ece")  # whose bins are those of all images
    assert weighed == pytest.approx({name: named[name] for name in weighed}, abs=1e-9)


def test_weighed_average_precision_is_scikit_learns() -> None:
    logits, targets = drawn(3)
    weights = np.random.RandomState(4).randint(0, 4, len(targets)).astype(float)
    found = gathered(logits, targets).weigher()(weights)
    for average in ("macro", "micro"):
        expected = average_precision_score(targets, logits, average=average, sample_weight=weights)
        assert found[f"map_{average}"] == pytest.approx(expected, abs=1e-9)


def test_mean_average_precision_has_an_interval_around_it() -> None:
    results = gathered(*drawn(5))
    low, high = results.intervals()["map_macro"]
    assert low < results.compute()["map_macro"] < high


def test_an_image_without_labels_of_which_none_is_said_is_right() -> None:
    results = MultilabelEvaluation()
    results.update(np.array([[-1, -1], [1, -1], [1, 1]], np.float32), np.array([[0, 0], [0, 0], [1, 0]], np.uint8))
    assert results.scores().tolist() == [1, 0, pytest.approx(2 / 3)]


def test_without_images_all_figures_are_nan() -> None:
    assert all(np.isnan(value) for name, value in MultilabelEvaluation().compute().items() if name in MORE)


def test_auroc_of_a_class_that_all_images_have_is_not_measured() -> None:
    results = MultilabelEvaluation()
    results.update(np.zeros((2, 2), np.float32), np.array([[1, 1], [1, 0]], np.uint8))
    assert results.by_class(2)["auroc"] == (None, 0.5)


def test_a_selection_has_the_figures_of_its_images_as_often_as_they_are_named() -> None:
    logits, targets = drawn(9)
    chosen = np.array([5, 2, 2, 30])
    selected, again = gathered(logits, targets).select(chosen), gathered(logits[chosen], targets[chosen])
    assert selected.compute() == again.compute()
    assert selected.logits.tolist() == logits[chosen].tolist()
