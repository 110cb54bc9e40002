"""Figures of several labels, against scikit-learn and torchmetrics."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_recall_fscore_support,
)
from torch.nn import functional as F
from torchmetrics.functional.classification import (
    multilabel_average_precision,
    multilabel_exact_match,
    multilabel_f1_score,
)

from convsmith.bundle.figures.certainty_intervals import wilson
from convsmith.bundle.figures.multilabel_evaluation import MultilabelEvaluation
from convsmith.bundle.figures.multilabel_metrics import MultilabelResults
from convsmith.bundle.multilabel import probabilities_of

Pair = tuple[NDArray[np.float32], NDArray[np.uint8]]


def drawn(seed: int, images: int = 40, classes: int = 5, ties: bool = False) -> Pair:
    """Logits that know a little, and labels of which each class has some and lacks some."""
    random = np.random.RandomState(seed)
    targets = (random.random_sample((images, classes)) < random.uniform(0.1, 0.6, classes)).astype(np.uint8)
    targets[0], targets[1] = 1, 0
    logits = (random.standard_normal((images, classes)) + 1.5 * targets - 1).astype(np.float32)
    return (logits.round(0) if ties else logits), targets


def gathered(
    logits: NDArray[np.float32], targets: NDArray[np.uint8], thresholds: list[float] | None = None, batch: int = 7
) -> MultilabelResults:
    results = MultilabelResults(thresholds)
    for first in range(0, len(targets), batch):
        results.update(logits[first : first + batch], targets[first : first + batch])
    return results


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=40)
def test_the_figures_are_scikit_learns(seed: int, ties: bool) -> None:
    logits, targets = drawn(seed, ties=ties)
    thresholds = np.random.RandomState(seed).uniform(0.2, 0.8, 5)
    said = (probabilities_of(logits) >= thresholds).astype(int)
    expected = {
        "map_macro": average_precision_score(targets, logits, average="macro"),
        "map_micro": average_precision_score(targets, logits, average="micro"),
        "f1_macro": f1_score(targets, said, average="macro", zero_division=0),
        "f1_micro": f1_score(targets, said, average="micro", zero_division=0),
        "subset_accuracy": accuracy_score(targets, said),
        "loss": F.binary_cross_entropy_with_logits(
            torch.from_numpy(logits).double(), torch.from_numpy(targets).double()
        ).item(),
    }
    assert gathered(logits, targets, thresholds.tolist()).compute() == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=20)
def test_the_figures_are_torchmetrics(seed: int, ties: bool) -> None:
    logits, targets = drawn(seed, ties=ties)
    scores, truth = torch.from_numpy(probabilities_of(logits)), torch.from_numpy(targets).long()
    expected = {
        "map_macro": multilabel_average_precision(scores, truth, 5, average="macro"),
        "map_micro": multilabel_average_precision(scores, truth, 5, average="micro"),
        "f1_macro": multilabel_f1_score(scores, truth, 5, threshold=0.4, average="macro"),
        "f1_micro": multilabel_f1_score(scores, truth, 5, threshold=0.4, average="micro"),
        "subset_accuracy": multilabel_exact_match(scores, truth, 5, threshold=0.4),
    }
    figures = gathered(logits, targets, [0.4] * 5).compute()
    assert {name: figures[name] for name in expected} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, abs=1e-6
    )


@pytest.mark.filterwarnings("ignore:No positive samples")
def test_a_class_that_no_image_has_counts_as_0_in_the_means_as_in_torchmetrics() -> None:
    logits, targets = drawn(0)
    targets[:, 2] = 0
    figures = gathered(logits, targets, [0.99] * 5).compute()
    scores, truth = torch.from_numpy(probabilities_of(logits)), torch.from_numpy(targets).long()
    assert figures["map_macro"] == pytest.approx(float(multilabel_average_precision(scores, truth, 5)), abs=1e-6)
    expected = multilabel_f1_score(scores, truth, 5, threshold=0.99, average="macro")
    assert figures["f1_macro"] == pytest.approx(float(expected), abs=1e-6)


def test_the_figures_of_each_class_are_scikit_learns() -> None:
    logits, targets = drawn(3)
    thresholds = [0.2, 0.4, 0.5, 0.6, 0.3]
    said = (probabilities_of(logits) >= thresholds).astype(int)
    precision, recall, f1, positives = precision_recall_fscore_support(targets, said, zero_division=0)
    found = gathered(logits, targets, thresholds).by_class(5)
    assert found["ap"] == pytest.approx(average_precision_score(targets, logits, average=None))
    assert found["f1"] == pytest.approx(f1)
    assert found["recall"] == pytest.approx(recall)
    assert [value or 0 for value in found["precision"]] == pytest.approx(precision)
    assert found["positives"] == tuple(positives)
    assert found["threshold"] == tuple(thresholds)


def test_what_has_nothing_to_divide_by_is_none() -> None:
    results = gathered(np.full((3, 2), -9, np.float32), np.array([[1, 0]] * 3, np.uint8))
    found = results.by_class(2)
    assert (found["precision"], found["recall"]) == ((None, None), (0.0, None))
    assert (found["f1"], found["ap"]) == ((0.0, None), (1.0, None))


def test_without_any_image_the_figures_are_not_numbers() -> None:
    assert all(math.isnan(value) for value in MultilabelResults().compute().values())


def test_without_any_label_nothing_is_right() -> None:
    figures = gathered(np.zeros((4, 3), np.float32), np.zeros((4, 3), np.uint8)).compute()
    assert (figures["map_macro"], figures["map_micro"], figures["f1_macro"]) == (0, 0, 0)


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=40)
def test_no_other_threshold_gives_a_class_a_higher_f1(seed: int, ties: bool) -> None:
    logits, targets = drawn(seed, images=15, classes=3, ties=ties)
    probabilities = probabilities_of(logits)
    for k, best in enumerate(gathered(logits, targets).best_thresholds()):
        said = probabilities[:, k] >= probabilities[:, k, None]  # by each of them as a threshold, and of each image
        right = (said & (targets[:, k] == 1)).sum(1)
        others = 2 * right / (said.sum(1) + targets[:, k].sum())
        assert f1_score(targets[:, k], probabilities[:, k] >= best) == pytest.approx(others.max())


def test_a_threshold_lies_in_the_middle_between_two_probabilities() -> None:
    logits, targets = drawn(1)
    for k, threshold in enumerate(gathered(logits, targets).best_thresholds()):
        steps = [0.0, *sorted(probabilities_of(logits)[:, k])]
        middles = [(low + high) / 2 for low, high in pairwise(steps)]
        assert min(abs(threshold - middle) for middle in middles) < 1e-12


def test_of_equally_good_thresholds_the_nearest_to_one_half_is_taken() -> None:
    """F1 is 2/3 with the first or with the last two images taken in."""
    probabilities = np.array([[0.99], [0.6], [0.4], [0.3]])
    logits = np.log(probabilities / (1 - probabilities)).astype(np.float32)
    targets = np.array([[1], [0], [0], [1]], np.uint8)
    assert f1_score(targets[:, 0], [1, 0, 0, 0]) == f1_score(targets[:, 0], [1, 1, 1, 1]) == pytest.approx(2 / 3)
    assert gathered(logits, targets).best_thresholds() == pytest.approx([0.795])


def test_the_threshold_of_a_class_that_no_image_has_is_one_half() -> None:
    assert gathered(np.ones((3, 1), np.float32), np.zeros((3, 1), np.uint8)).best_thresholds() == [0.5]


@given(st.integers(0, 2**31), st.integers(1, 20))
@settings(max_examples=20)
def test_who_judged_which_images_changes_no_bit(seed: int, split: int) -> None:
    logits, targets = drawn(seed, ties=True)
    order = np.random.RandomState(seed).permutation(len(targets))
    one = gathered(logits[order[:split]], targets[order[:split]])
    two = gathered(logits[order[split:]], targets[order[split:]])
    one.merge(two)
    assert one.compute() == gathered(logits, targets).compute()
    assert one.best_thresholds() == gathered(logits, targets).best_thresholds()


def test_the_matrix_counts_images_that_have_one_class_and_are_said_to_have_another() -> None:
    targets = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], np.uint8)
    said = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], np.float32) * 2 - 1
    assert gathered(said, targets).confusion_matrix(3).tolist() == [[1, 0, 0], [2, 1, 0], [0, 0, 0]]


def test_chance_is_what_a_model_scores_that_knows_frequencies_alone() -> None:
    _, targets = drawn(5)
    share = targets.mean(axis=0)
    constant = np.tile(np.log(share / (1 - share)).astype(np.float32), (len(targets), 1))
    figures = gathered(constant, targets, [0.0] * 5).compute()
    chance = gathered(constant, targets).chance(5)
    for name in ("map_macro", "map_micro", "f1_macro", "f1_micro"):
        assert chance[name] == pytest.approx(figures[name]), name
    subsets = [tuple(row) for row in targets.tolist()]
    assert chance["subset_accuracy"] == max(subsets.count(it) for it in subsets) / len(subsets)


def test_an_empty_collection_keeps_the_thresholds() -> None:
    assert MultilabelResults([0.3, 0.4]).empty().thresholds == [0.3, 0.4]


def test_the_row_of_an_image_names_what_is_true_and_what_the_bundle_says() -> None:
    logits, targets = drawn(8)
    results = gathered(logits, targets)
    for number, row in enumerate(results.rows("abcde")):
        assert row["true"] == [label for label, there in zip("abcde", targets[number], strict=True) if there]
        assert row["predicted"] == [label for label, logit in zip("abcde", logits[number], strict=True) if logit >= 0]
        assert row["right"] == (row["true"] == row["predicted"])
        assert row["scores"] == pytest.approx(probabilities_of(logits[number]))
    assert [row["loss"] for row in results.rows("abcde")] == pytest.approx(results.losses())
    assert results.losses().mean() == pytest.approx(results.compute()["loss"])


def test_figures_of_four_images_counted_by_hand() -> None:
    logits = np.array([[3, -2, 0], [2, 1, -1], [-1, 2, -3], [1, -4, -2]], np.float32)
    targets = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    results = MultilabelEvaluation()
    results.update(logits, targets)
    found, classes = results.compute(), results.by_class(3)
    # said: a threshold that is reached counts, and 0 is a probability of one half
    assert results.confusion_matrix(3).tolist() == [[2, 2, 1], [1, 1, 0], [0, 0, 0]]
    assert list(classes["positives"]) == [3, 1, 0]
    assert list(classes["precision"]) == [2 / 3, 1 / 2, 0]
    assert list(classes["recall"]) == [2 / 3, 1, None]
    assert list(classes["f1"]) == [2 / 3, 2 / 3, 0]
    expected = {
        "f1_macro": (2 / 3 + 2 / 3 + 0) / 3,
        "f1_micro": 2 * 3 / (6 + 4),
        "f1_weighted": 2 / 3,
        "precision_macro": (2 / 3 + 1 / 2 + 0) / 3,
        "precision_micro": 3 / 6,
        "precision_weighted": (3 * 2 / 3 + 1 / 2) / 4,
        "recall_macro": (2 / 3 + 1 + 0) / 3,
        "recall_micro": 3 / 4,
        "recall_weighted": (3 * 2 / 3 + 1) / 4,
        "subset_accuracy": 1 / 4,
        "hamming_loss": (1 + 0 + 2 + 1) / 12,
        "f1_samples": (2 / 3 + 1 + 0 + 0) / 4,
        "map_macro": (11 / 12 + 1 / 2 + 0) / 3,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert results.intervals() == {"subset_accuracy": wilson(1 / 4, 4)}


def test_what_sees_nothing_says_each_class_as_often_as_it_is_there() -> None:
    results = MultilabelEvaluation()
    results.update(np.zeros((4, 2), np.float32), np.array([[1, 0], [1, 1], [1, 0], [0, 0]], bool))
    assert results.chance(2) == pytest.approx(
        {
            "map_macro": 1 / 2,
            "map_micro": (3 / 4 * 3 + 1 / 2) / 4,
            "f1_macro": (2 * 0.75 / 1.75 + 2 * 0.25 / 1.25) / 2,
            "f1_micro": 1 / 1.5,
            "subset_accuracy": 2 / 4,
        }
    )
