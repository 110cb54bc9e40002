from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from convsmith.bundle.figures.segmentation_metrics import SegmentationResults
from convsmith.errors import ConvsmithError
from convsmith.spec import IGNORED
from tests.tasks.training_goldens import cases

Mask = NDArray[np.uint8]
CLASSES = 4


def official_masks(given: dict[str, Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The predicted and the true masks of an official case, [N, H, W]."""
    shape, num_classes = (given["N"], given["H"], given["W"]), given["num_classes"]
    random = np.random.RandomState(given["seed"])
    labels = random.randint(0, given["label_classes"], shape)
    ignored = random.rand(*shape) < given["ignore_fraction"]
    scores = random.randn(given["N"], num_classes, *shape[1:])
    hits = random.rand(*shape) < given["hit_rate"]
    scores += 10.0 * (hits[:, None] & (labels[:, None] == np.arange(num_classes)[:, None, None]))
    labels[ignored] = IGNORED
    return scores.argmax(axis=1).astype(np.uint8), labels.astype(np.uint8)


def blobs(seed: int, height: int, width: int, num_classes: int = CLASSES, ignored: bool = False) -> Mask:
    """A mask of rectangles that lie over one another."""
    random = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for value in [*range(num_classes), *([IGNORED] if ignored else [])] * 2:
        top, left = random.integers(0, height), random.integers(0, width)
        mask[top : top + random.integers(1, height + 1), left : left + random.integers(1, width + 1)] = value
    return mask


def counted(predictions: Any, targets: Any, num_classes: int = CLASSES, boundary: bool = False) -> SegmentationResults:
    results = SegmentationResults(num_classes, boundary)
    for prediction, target in zip(predictions, targets, strict=True):
        results.update(prediction, target)
    return results


@pytest.mark.parametrize("case", cases("seg_metrics", "metrics"), ids=lambda case: f"seed{case['in']['seed']}")
def test_counts_and_figures_are_the_official_ones(case: dict[str, Any]) -> None:
    num_classes, out = case["in"]["num_classes"], case["out"]
    predictions, targets = official_masks(case["in"])
    # the official code passes over targets that are no class
    targets = np.where(targets < num_classes, targets, np.uint8(IGNORED))
    results = counted(predictions, targets, num_classes)
    assert results.confusion.tolist() == out["confusion_matrix_rows_are_labels"]
    assert results.iou() == pytest.approx(out["iou"], rel=1e-12)
    assert results.compute() == pytest.approx(
        {"miou": out["mean_iou"], "mean_accuracy": out["mean_acc"], "pixel_accuracy": out["pixel_acc"]}, rel=1e-12
    )


def test_targets_that_are_no_class_are_an_error_where_the_official_code_passes_over_them() -> None:
    [case] = [c for c in cases("seg_metrics", "metrics") if c["in"]["label_classes"] > c["in"]["num_classes"]]
    predictions, targets = official_masks(case["in"])
    with pytest.raises(ConvsmithError, match="a true mask holds the class 5: the classes are 0 to 4, and 255 is"):
        counted(predictions, targets, case["in"]["num_classes"])


def test_a_predicted_class_beyond_the_last_is_an_error() -> None:
    with pytest.raises(ConvsmithError, match="a predicted mask holds the class 4"):
        counted([np.full((2, 2), 4, np.uint8)], [np.zeros((2, 2), np.uint8)])


def test_an_error_leaves_the_counts_as_they_were() -> None:
    results = counted([blobs(0, 9, 9)], [blobs(1, 9, 9)], boundary=True)
    before = results.compute()
    with pytest.raises(ConvsmithError):
        results.update(blobs(2, 9, 9), np.full((9, 9), 7, np.uint8))
    assert results.compute() == before


@pytest.mark.parametrize(
    ("prediction", "target"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)),
        (np.zeros((2, 3), np.int64), np.zeros((2, 3), np.uint8)),
        (np.zeros((2, 3), np.uint8), np.full((2, 3), -1)),
    ],
)
def test_masks_that_cannot_be_compared_are_an_error(prediction: Any, target: Any) -> None:
    with pytest.raises(ConvsmithError, match=r"cannot be compared .*\(2, 3\)"):
        SegmentationResults(CLASSES).update(prediction, target)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 20), st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_counts_and_iou_equal_torchmetrics(num_classes: int, seed: int, height: int, width: int, same: bool) -> None:
    target = blobs(seed, height, width, num_classes, ignored=True)
    prediction = np.minimum(target, num_classes - 1) if same else blobs(seed + 1, height, width, num_classes)
    results = counted([prediction], [target], num_classes)
    pair = torch.from_numpy(prediction).long(), torch.from_numpy(target).long()
    matrix = MulticlassConfusionMatrix(num_classes, ignore_index=IGNORED)(*pair)
    assert np.array_equal(results.confusion, matrix.numpy())
    jaccard = MulticlassJaccardIndex(num_classes, average="none", ignore_index=IGNORED, zero_division=0)(*pair)
    assert np.allclose(results.iou(), jaccard.numpy())


def test_a_class_that_never_occurs_counts_as_0_in_the_means() -> None:
    right = np.array([[0, 1]], np.uint8)
    assert counted([right], [right]).compute() == {"miou": 0.5, "mean_accuracy": 0.5, "pixel_accuracy": 1.0}


def test_pixels_tell_which_classes_never_occur() -> None:
    prediction, target = np.array([[0, 1, 3]], np.uint8), np.array([[0, 1, IGNORED]], np.uint8)
    assert counted([prediction], [target]).pixels.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("targets", [[], [np.full((3, 4), IGNORED, np.uint8)]])
def test_without_any_pixel_all_figures_are_nan(targets: list[Mask]) -> None:
    figures = counted([np.zeros((3, 4), np.uint8)] * len(targets), targets, boundary=True).compute()
    assert figures.keys() == {"miou", "mean_accuracy", "pixel_accuracy", "boundary_iou"}
    assert all(math.isnan(figure) for figure in figures.values())


def test_merged_results_are_those_of_all_images() -> None:
    predictions, targets = [blobs(i, 20, 30) for i in range(6)], [blobs(i + 9, 20, 30, ignored=True) for i in range(6)]
    merged = counted(predictions[:2], targets[:2], boundary=True)
    merged.merge(counted(predictions[2:], targets[2:], boundary=True))
    assert merged.compute() == counted(predictions, targets, boundary=True).compute()


@pytest.mark.parametrize("other", [SegmentationResults(1), SegmentationResults(CLASSES, boundary=True)])
def test_results_of_another_kind_cannot_be_merged(other: SegmentationResults) -> None:
    with pytest.raises(ConvsmithError, match="different things"):
        SegmentationResults(CLASSES).merge(other)


def slow_boundary(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """A mask without its erosion by a square, by its definition; outside the image nothing is in the mask."""
    squares = sliding_window_view(np.pad(mask, width), (2 * width + 1, 2 * width + 1))
    boundary: NDArray[np.bool_] = mask & ~squares.all(axis=(2, 3))
    return boundary


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 40))
def test_boundaries_equal_a_slow_erosion_class_by_class(seed: int, height: int, width: int) -> None:
    # tall images of some pixels' width have boundaries that are wider than a pixel
    prediction, target = (np.repeat(blobs(s, height, width, ignored=s > seed), 5, axis=0) for s in (seed, seed + 1))
    distance = max(1, round(0.02 * math.hypot(*target.shape)))
    expected = []
    for class_id in range(CLASSES):
        ours = slow_boundary((prediction == class_id) & (target != IGNORED), distance)
        theirs = slow_boundary(target == class_id, distance)
        expected.append([(ours & theirs).sum(), (ours | theirs).sum()])
    boundary = counted([prediction], [target], boundary=True).boundary
    assert boundary is not None
    assert boundary.T.tolist() == expected


@given(arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30)), elements=st.integers(0, CLASSES - 1)))
def test_the_boundary_iou_of_a_perfect_prediction_is_1(mask: Mask) -> None:
    iou = counted([mask], [mask], boundary=True).boundary_iou()
    assert np.array_equal(iou, np.isin(np.arange(CLASSES), mask))


def test_boundary_iou_falls_where_iou_hardly_does() -> None:
    target = np.zeros((400, 400), np.uint8)
    target[100:300, 100:300] = 1
    prediction = np.roll(target, 6, axis=1)
    results = counted([prediction], [target], num_classes=2, boundary=True)
    assert results.iou()[1] > 0.9
    assert results.boundary_iou()[1] < 0.7


def test_boundaries_that_were_not_measured_are_an_error() -> None:
    with pytest.raises(ConvsmithError, match="boundary=True"):
        SegmentationResults(CLASSES).boundary_iou()
