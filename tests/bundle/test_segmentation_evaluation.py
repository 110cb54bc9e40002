"""Figures of a finished segmentation, against scikit-learn and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support
from torchmetrics.functional.classification import multiclass_jaccard_index

from convsmith.bundle.figures.segmentation_evaluation import SegmentationEvaluation
from convsmith.spec import IGNORED

CLASSES = 4
Masks = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def drawn(seed: int, images: int = 5) -> Masks:
    """Predictions that are right for about a half of the pixels of three classes; the fourth never occurs."""
    random = np.random.RandomState(seed)
    targets = [random.randint(0, 3, (12, 10)).astype(np.uint8) for _ in range(images)]
    said = [np.where(random.random_sample(it.shape) < 0.5, it, random.randint(0, 3, it.shape)) for it in targets]
    for target in targets:
        target[0, :3] = IGNORED
    return [(one.astype(np.uint8), two) for one, two in zip(said, targets, strict=True)]


def gathered(masks: Masks) -> SegmentationEvaluation:
    results = SegmentationEvaluation(CLASSES)
    for said, target in masks:
        results.update(said, target)
    return results


def pixels(masks: Masks) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The predicted and the true classes of all pixels that count."""
    said, true = (np.concatenate([pair[side].ravel() for pair in masks]) for side in (0, 1))
    return said[true != IGNORED], true[true != IGNORED]


@given(st.integers(0, 2**31))
@settings(max_examples=20)
def test_figures_of_pixels_are_scikit_learns_and_torchmetrics(seed: int) -> None:
    masks = drawn(seed)
    said, true = pixels(masks)
    precision, recall, dice, _ = precision_recall_fscore_support(true, said, average="macro", zero_division=0)
    present = multiclass_jaccard_index(torch.from_numpy(said), torch.from_numpy(true), 3, average="macro")
    found = gathered(masks).compute()
    assert found["precision"] == pytest.approx(precision)
    assert found["recall"] == pytest.approx(recall)
    assert found["dice"] == pytest.approx(dice)
    assert found["miou_present"] == pytest.approx(float(present), abs=1e-6)
    assert found["miou"] == pytest.approx(0.75 * found["miou_present"])


def test_figures_of_each_class_are_scikit_learns_and_none_where_it_never_occurs() -> None:
    masks = drawn(0)
    said, true = pixels(masks)
    expected = precision_recall_fscore_support(true, said, labels=range(3), zero_division=0)
    found = gathered(masks).by_class(CLASSES)
    for name, values in zip(("precision", "recall", "dice"), expected[:3], strict=True):
        assert found[name][:3] == pytest.approx(values)
        assert found[name][3] is None


def test_each_interval_holds_its_figure_and_is_narrower_with_more_images() -> None:
    few, many = gathered(drawn(1, images=10)), gathered(drawn(1, images=80))
    for results in (few, many):
        figures = results.compute()
        assert all(low <= figures[name] <= high for name, (low, high) in results.intervals().items())
    widths = [np.ptp(results.intervals()["miou"]) for results in (few, many)]
    assert widths[1] < widths[0]


def test_the_iou_of_images_is_the_mean_of_their_own() -> None:
    masks = drawn(5)
    results = gathered(masks)
    own = [gathered([pair]).compute()["miou_present"] for pair in masks]
    assert results.scores() == pytest.approx(own)
    assert results.compute()["image_iou"] == pytest.approx(np.mean(own))


def test_boundaries_have_an_interval_where_they_are_measured() -> None:
    results = SegmentationEvaluation(CLASSES, boundary=True)
    for pair in drawn(6, images=20):
        results.update(*pair)
    low, high = results.intervals()["boundary_iou"]
    assert low < results.compute()["boundary_iou"] < high


def test_figures_of_weighed_images_are_those_of_images_named_so_often() -> None:
    results = gathered(drawn(7, images=12))
    numbers = np.array([0, 0, 3, 5, 5, 5, 11])
    weighed, named = (
        results.weigher()(np.bincount(numbers, minlength=12).astype(float)),
        results.select(numbers).compute(),
    )
    assert weighed == pytest.approx({name: named[name] for name in weighed})


def test_images_that_others_counted_are_in_the_intervals_too() -> None:
    masks = drawn(2, images=12)
    whole, part = gathered(masks), gathered(masks[:5])
    other = part.empty()
    for said, target in masks[5:]:
        other.update(said, target)
    part.merge(other)
    assert part.intervals() == whole.intervals()
    assert part.compute() == whole.compute()


def test_a_selection_has_the_figures_of_its_images_as_often_as_they_are_named() -> None:
    masks, chosen = drawn(3), [4, 1, 1]
    results = SegmentationEvaluation(CLASSES, boundary=True)
    again = SegmentationEvaluation(CLASSES, boundary=True)
    for said, target in masks:
        results.update(said, target)
    for number in chosen:
        again.update(*masks[number])
    selected = results.select(np.array(chosen))
    assert selected.compute() == again.compute()
    assert selected.confusion.tolist() == again.confusion.tolist()
    assert list(selected.rows(())) == list(again.rows(()))


def test_the_row_of_an_image_has_the_figures_of_that_image_alone() -> None:
    masks = drawn(5)
    for row, mask in zip(gathered(masks).rows(()), masks, strict=True):
        own = gathered([mask]).compute()
        assert row == {"pixels": len(pixels([mask])[1]), **{name: own[name] for name in list(row)[1:]}}


def test_the_loss_of_an_image_is_what_its_mean_iou_lacks() -> None:
    right, wrong, unknown = (
        np.array([[0, 1]], np.uint8),
        np.array([[1, 0]], np.uint8),
        np.full((1, 2), IGNORED, np.uint8),
    )
    assert gathered([(right, right), (wrong, right), (right, unknown)]).losses().tolist() == [0, 1, 0]
