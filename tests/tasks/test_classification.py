from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

from convsmith.recipe.load import load_recipe
from convsmith.tasks.classification import Classification
from convsmith.tasks.classification_metrics import ClassificationResults


def results(
    seed: int, count: int, classes: int, batch: int
) -> tuple[ClassificationResults, torch.Tensor, torch.Tensor]:
    random = np.random.RandomState(seed)
    logits = random.standard_normal((count, classes)).astype(np.float32)
    targets = random.randint(0, classes, count).astype(np.int64)
    gathered = ClassificationResults()
    for first in range(0, count, batch):
        gathered.update(logits[first : first + batch], targets[first : first + batch])
    return gathered, torch.from_numpy(logits), torch.from_numpy(targets)


@given(seed=st.integers(0, 2**31), count=st.integers(1, 60), classes=st.integers(6, 20), batch=st.integers(1, 60))
def test_the_figures_are_those_of_torchmetrics_and_torch(seed: int, count: int, classes: int, batch: int) -> None:
    gathered, logits, targets = results(seed, count, classes, batch)
    figures = gathered.compute()
    for name, k in (("top1", 1), ("top5", 5)):
        expected = multiclass_accuracy(logits, targets, classes, average="micro", top_k=k)
        assert figures[name] == pytest.approx(expected.item())
    assert figures["loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, targets).item(), rel=1e-5)
    confusion = multiclass_confusion_matrix(logits, targets, classes)
    assert np.array_equal(gathered.confusion(classes), confusion.numpy())


def test_an_image_that_could_not_be_read_is_left_out() -> None:
    gathered = ClassificationResults()
    gathered.update(np.eye(3, dtype=np.float32), np.array([0, -1, 1]))
    assert gathered.compute()["top1"] == 0.5


def test_without_any_image_the_figures_are_not_numbers() -> None:
    gathered = ClassificationResults()
    gathered.update(np.zeros((1, 3), np.float32), np.array([-1]))
    assert all(math.isnan(value) for value in gathered.compute().values())


def test_of_equal_logits_the_lower_class_counts_as_higher() -> None:
    gathered = ClassificationResults()
    gathered.update(np.zeros((2, 8), np.float32), np.array([0, 5]))
    assert gathered.compute()["top1"] == 0.5
    assert gathered.compute()["top5"] == 0.5


def test_label_smoothing_spreads_its_share_over_all_classes() -> None:
    task = Classification(load_recipe("digits", ["loss.label_smoothing=0.2"]))
    logits = torch.tensor([[2.0, 0.0, -1.0, 0.5]])
    soft = torch.tensor([[0.85, 0.05, 0.05, 0.05]])
    expected = -(soft * logits.log_softmax(1)).sum()
    assert task.loss(logits, torch.tensor([0])).item() == pytest.approx(expected.item(), rel=1e-6)
