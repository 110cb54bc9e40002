"""Figures of a finished classifier, against scikit-learn and torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)
from torchmetrics.functional.classification import multiclass_calibration_error

from convsmith.bundle.calibration import Calibration, Sets, Unknown
from convsmith.bundle.classification import Classification
from convsmith.bundle.figures import classification_evaluation as module
from convsmith.bundle.figures.certainty_intervals import bootstrap, wilson
from convsmith.bundle.figures.classification_evaluation import ClassificationEvaluation
from convsmith.errors import ConvsmithError

CLASSES = 5


def drawn(seed: int, images: int = 60, classes: int = CLASSES) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits that know a little, and targets of which each class has some."""
    random = np.random.RandomState(seed)
    targets = np.concatenate([np.arange(classes), random.randint(0, classes, images - classes)])
    logits = random.standard_normal((images, classes)) + 1.5 * np.eye(classes)[targets]
    return logits.astype(np.float32), targets


def gathered(logits: NDArray[np.float32], targets: NDArray[np.int64], batch: int = 7) -> ClassificationEvaluation:
    results = ClassificationEvaluation()
    for first in range(0, len(targets), batch):
        results.update(logits[first : first + batch], targets[first : first + batch])
    return results


def probabilities_of(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    return torch.from_numpy(logits).double().softmax(1).numpy()


@given(st.integers(0, 2**31))
@settings(max_examples=30)
def test_the_figures_are_scikit_learns(seed: int) -> None:
    logits, targets = drawn(seed)
    found, probabilities = gathered(logits, targets).compute(), probabilities_of(logits)
    expected = {
        "auroc": roc_auc_score(targets, probabilities, multi_class="ovr", average="macro"),
        "average_precision": average_precision_score(np.eye(CLASSES)[targets], probabilities, average="macro"),
        "balanced_accuracy": balanced_accuracy_score(targets, logits.argmax(1)),
        "loss": log_loss(targets, probabilities, labels=range(CLASSES)),
        "brier": float(np.square(probabilities - np.eye(CLASSES)[targets]).sum(1).mean()),
    }
    for average in ("macro", "weighted"):
        figures = precision_recall_fscore_support(targets, logits.argmax(1), average=average, zero_division=0)
        names = [f"{name}_{average}" for name in ("precision", "recall", "f1")]
        expected |= dict(zip(names, figures[:3], strict=True))
    expected["f1_micro"] = precision_recall_fscore_support(targets, logits.argmax(1), average="micro")[2]
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 2**31))
@settings(max_examples=30)
def test_figures_of_each_class_are_scikit_learns(seed: int) -> None:
    logits, targets = drawn(seed)
    found = gathered(logits, targets).by_class(CLASSES)
    precision, recall, f1, _ = precision_recall_fscore_support(targets, logits.argmax(1), zero_division=0)
    one_hot, probabilities = np.eye(CLASSES)[targets], probabilities_of(logits)
    assert found["precision"] == pytest.approx(precision)
    assert found["per_class"] == pytest.approx(recall)
    assert found["f1"] == pytest.approx(f1)
    assert found["auroc"] == pytest.approx(roc_auc_score(one_hot, probabilities, average=None))
    assert found["average_precision"] == pytest.approx(average_precision_score(one_hot, probabilities, average=None))


@given(st.integers(0, 2**31))
@settings(max_examples=30)
def test_the_calibration_error_is_torchmetrics(seed: int) -> None:
    logits, targets = drawn(seed)
    probabilities = torch.from_numpy(probabilities_of(logits)).float()
    expected = multiclass_calibration_error(probabilities, torch.from_numpy(targets), CLASSES, n_bins=15, norm="l1")
    assert gathered(logits, targets).compute()["ece"] == pytest.approx(float(expected), abs=1e-6)


def test_the_adaptive_calibration_error_has_as_many_images_in_each_bin() -> None:
    logits, targets = drawn(1, images=60)  # 4 images in each of 15 bins
    probabilities = probabilities_of(logits)
    order = probabilities.max(1).argsort(kind="stable")
    gaps = (probabilities.argmax(1) == targets)[order].astype(float) - probabilities.max(1)[order]
    expected = np.abs(gaps.reshape(15, 4).mean(1)).mean()
    assert gathered(logits, targets).compute()["adaptive_ece"] == pytest.approx(expected)


def test_a_class_that_never_occurs_has_no_figures_and_is_in_no_mean() -> None:
    logits, targets = drawn(2)
    wider = np.concatenate([logits, np.full((len(logits), 1), -50, np.float32)], axis=1)
    narrow, wide = gathered(logits, targets), gathered(wider, targets)
    assert wide.compute() == pytest.approx(narrow.compute(), abs=1e-6)
    figures = {name: values[-1] for name, values in wide.by_class(CLASSES + 1).items()}
    assert figures.pop("support") == 0
    assert set(figures.values()) == {None}


def test_what_has_too_many_pairs_to_be_ranked_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 100)
    logits, targets = drawn(3)
    found = gathered(logits, targets).compute()
    assert math.isnan(found["auroc"])
    assert found["f1_macro"] == pytest.approx(gathered(logits, targets, batch=10).compute()["f1_macro"])
    assert set(gathered(logits, targets).by_class(CLASSES)["auroc"]) == {None}


@given(st.integers(0, 2**31))
@settings(max_examples=20)
def test_shares_among_the_highest_are_scikit_learns(seed: int) -> None:
    logits, targets = drawn(seed, classes=15)
    found = gathered(logits, targets).compute()
    for k in (1, 3, 5, 10):
        expected = top_k_accuracy_score(targets, logits, k=k, labels=range(15))
        assert found[f"top{k}"] == pytest.approx(expected)


def test_of_equal_logits_the_lower_class_is_the_higher() -> None:
    results = gathered(np.zeros((2, 12), np.float32), np.array([2, 3]))
    assert results.compute()["top3"] == 0.5


def test_figures_of_weighed_images_are_those_of_images_named_so_often() -> None:
    results = gathered(*drawn(6))
    numbers = np.random.RandomState(7).randint(0, 60, 60)
    weighed, named = (
        results.weigher()(np.bincount(numbers, minlength=60).astype(float)),
        results.select(numbers).compute(),
    )
    weighed.pop("adaptive_ece")  # whose bins are those of all images
    assert weighed == pytest.approx({name: named[name] for name in weighed}, abs=1e-7)


def test_images_of_classes_are_their_numbers() -> None:
    results = gathered(np.zeros((4, 3), np.float32), np.array([2, 0, 2, 0]))
    assert [numbers.tolist() for numbers in results.images_of_classes(3)] == [[1, 3], [], [0, 2]]


def test_each_interval_holds_its_figure() -> None:
    results = gathered(*drawn(4, images=200))
    figures = results.compute()
    intervals = results.intervals()
    assert {"top1", "balanced_accuracy", "f1_macro", "loss", "brier", "auroc", "average_precision"} <= intervals.keys()
    for name in ("top1", "top5", "balanced_accuracy", "f1_macro", "loss", "brier", "auroc", "average_precision"):
        low, high = intervals[name]
        assert low <= figures[name] <= high
        assert high - low < 0.5


def test_a_figure_that_is_not_measured_has_no_interval() -> None:
    logits, _ = drawn(8)
    assert "auroc" not in gathered(logits, np.zeros(len(logits), np.int64)).intervals()


def test_few_images_have_intervals_of_shares_alone() -> None:
    assert gathered(*drawn(5, images=9)).intervals().keys() == {"top1", "top3", "top5", "top10", "f1_micro"}


def test_intervals_of_shares_hold_the_truth_for_95_of_100_samples() -> None:
    draws = (np.random.RandomState(seed).random_sample(50) < 0.7 for seed in range(300))
    intervals = [wilson(float(hits.mean()), 50) for hits in draws]
    assert 0.92 <= np.mean([low <= 0.7 <= high for low, high in intervals]) <= 0.98


def test_intervals_by_bootstrap_hold_the_truth_for_95_of_100_samples() -> None:
    held = []
    for seed in range(60):
        values = np.random.RandomState(seed).standard_normal(40)
        found = bootstrap(lambda counts: {"mean": float(counts @ values / counts.sum())}, 40, draws=100)  # noqa: B023
        held.append(found["mean"][0] <= 0 <= found["mean"][1])
    assert 0.85 <= np.mean(held) <= 0.99


def test_what_others_counted_is_taken_in_whenever_it_comes() -> None:
    logits, targets = drawn(6)
    whole, first, second = gathered(logits, targets), gathered(logits[:20], targets[:20]), all_but_20(logits, targets)
    first.compute()  # what it has made of fewer predictions must not stay
    first.merge(second)
    assert first.compute() == pytest.approx(whole.compute())
    assert first.by_class(CLASSES) == whole.by_class(CLASSES)


def all_but_20(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> ClassificationEvaluation:
    """All but the first 20 images, in a collection that an empty one became."""
    results = gathered(logits, targets).empty()
    results.update(logits[20:], targets[20:])
    return results


def test_a_selection_has_the_figures_of_its_images_as_often_as_they_are_named() -> None:
    logits, targets = drawn(2)
    chosen = np.array([8, 3, 3, *range(20, 40)])
    selected, again = gathered(logits, targets).select(chosen), gathered(logits[chosen], targets[chosen])
    assert selected.compute() == pytest.approx(again.compute())
    assert selected.by_class(CLASSES) == again.by_class(CLASSES)
    assert selected.logits.tolist() == logits[chosen].tolist()


def test_the_row_of_an_image_says_what_is_true_and_what_the_bundle_says() -> None:
    logits, targets = drawn(4)
    labels, probabilities = [f"label {k}" for k in range(CLASSES)], probabilities_of(logits)
    for number, row in enumerate(gathered(logits, targets).rows(labels)):
        said = int(logits[number].argmax())
        assert (row["true"], row["predicted"]) == (labels[targets[number]], labels[said])
        assert row["right"] == (said == targets[number])
        assert row["score"] == pytest.approx(probabilities[number, said])
        assert row["loss"] == pytest.approx(-math.log(probabilities[number, targets[number]]))
        assert row["scores"] == pytest.approx(probabilities[number], abs=1e-6)


def test_the_losses_of_all_images_come_to_the_mean_loss() -> None:
    results = gathered(*drawn(6))
    assert results.losses().mean() == pytest.approx(results.compute()["loss"])


def test_more_logits_than_fit_are_not_kept_and_asking_for_them_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 20 * CLASSES)
    results = gathered(*drawn(7))
    assert next(results.rows("abcde"))["scores"] is None
    with pytest.raises(ConvsmithError, match="not kept"):
        results.logits  # noqa: B018


def test_sets_and_unknown_are_counted_in_parts_and_selections_too() -> None:
    own = Calibration(
        weights=(1.0,),
        sets=Sets(coverage=0.9, thresholds=(0.2,) * CLASSES),
        unknown=Unknown(threshold=0.5),
        images={"scaling": 9},
        measured={},
    )
    logits, targets = drawn(0)
    whole, half, other = (ClassificationEvaluation(own) for _ in range(3))
    whole.update(logits, targets)
    half.update(logits[:30], targets[:30])
    other.update(logits[30:], targets[30:])
    half.merge(other)
    p = probabilities_of(logits)
    chosen, known = p >= 0.2, p.max(1) >= 0.5
    expected = {
        "set_coverage": chosen[np.arange(60), targets].mean(),
        "set_size": chosen.sum(1).mean(),
        "unknown": (~known).mean(),
        "known_right": (p.argmax(1) == targets)[known].mean(),
    }
    for results in (whole, half, half.select(np.arange(60))):
        found = results.compute()
        assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_threshold_that_an_answer_just_reaches_is_reached_here_too() -> None:
    logits, targets = drawn(0)
    for row, target in zip(logits, targets.tolist(), strict=True):
        answer = Classification(row, tuple("abcde"))
        own = Calibration(
            weights=(1.0,),
            sets=Sets(coverage=0.9, thresholds=(float(answer.probabilities[target]),) * CLASSES),
            unknown=Unknown(threshold=answer.score),
            images={"scaling": 9},
            measured={},
        )
        results = ClassificationEvaluation(own)
        results.update(row[None], np.array([target]))
        found = results.compute()
        assert (found["set_coverage"], found["unknown"]) == (1, 0)


CERTAIN = Calibration(
    weights=(1.0,),
    sets=Sets(coverage=0.9, thresholds=(0.3,)),
    unknown=Unknown(threshold=0.6),
    images={"scaling": 1},
    measured={},
)


def test_figures_of_five_images_counted_by_hand() -> None:
    probabilities = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.8, 0.1, 0.1], [0.36, 0.36, 0.28], [0.1, 0.9, 0.0001]]
    results = ClassificationEvaluation(CERTAIN)
    results.update(np.log(np.array(probabilities, np.float32)), np.array([0, 0, 1, 1, 1]))
    found, classes = results.compute(), results.by_class(3)
    assert results.predictions.tolist() == [0, 1, 0, 0, 1]
    assert list(classes["support"]) == [2, 3, 0]
    assert classes["per_class"] == pytest.approx((1 / 2, 1 / 3, None))
    assert classes["precision"] == pytest.approx((1 / 3, 1 / 2, None))
    assert classes["f1"] == pytest.approx((2 / 5, 2 / 5, None))
    assert found["f1_weighted"] == pytest.approx(2 / 5)
    assert found["precision_weighted"] == pytest.approx((2 / 3 + 3 / 2) / 5)
    assert found["recall_weighted"] == pytest.approx(2 / 5)
    assert found["precision_macro"] == pytest.approx(5 / 12)
    assert {name: found[name] for name in ("set_coverage", "set_size", "unknown", "known_right")} == pytest.approx(
        {"set_coverage": 4 / 5, "set_size": 7 / 5, "unknown": 2 / 5, "known_right": 2 / 3}
    )
    intervals = results.intervals()
    assert intervals["known_right"] == wilson(found["known_right"], 3)
    assert intervals["unknown"] == wilson(found["unknown"], 5)
    assert intervals["set_coverage"] == wilson(found["set_coverage"], 5)
    assert results.chance(3) == pytest.approx({"top1": 3 / 5, "balanced_accuracy": 1 / 2})


def test_a_class_that_is_said_as_often_as_it_is_there_counts() -> None:
    results = gathered(np.eye(3, dtype=np.float32)[[0, 1]], np.array([0, 1]))
    assert results.compute()["f1_macro"] == 1
    swapped = gathered(np.eye(3, dtype=np.float32)[[1, 0]], np.array([0, 1]))
    assert swapped.compute()["f1_macro"] == 0


@pytest.mark.parametrize(("most", "kept"), [(300, True), (299, False)])
def test_logits_are_kept_up_to_a_limit(most: int, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", most)
    logits, targets = drawn(3)
    results = gathered(logits, targets)
    parts = gathered(logits[:20], targets[:20])
    parts.merge(gathered(logits[20:], targets[20:]))
    for it in (results, parts, results.select(np.arange(60))):
        assert (it._logits is not None) == kept
        assert ("auroc" in it.weigher()(np.ones(60))) == kept
    if not kept:
        with pytest.raises(ConvsmithError, match="there are 300 pairs, and 299 at most are"):
            parts.logits  # noqa: B018


@pytest.mark.parametrize(("most", "ranked"), [(300, True), (299, False)])
def test_rankings_have_intervals_up_to_a_limit(most: int, ranked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_RANKED", most)
    results = gathered(*drawn(3))
    assert ("auroc" in results.weigher()(np.ones(60))) == ranked
    assert "auroc" in results.compute()
