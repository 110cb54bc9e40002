"""What tasks draw, and the tables that they make of an evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convsmith.bundle.figures.evaluation import Evaluation
from convsmith.bundle.segmentation import voc_colours
from convsmith.bundle.task import find_task
from tests.colours import bare_manifest

RANDOM = np.random.RandomState(0)
LABELS = ("a", "b", "c")


@pytest.mark.parametrize("colours", [None, ((1, 2, 3), (40, 50, 60), (200, 100, 7))])
def test_masks_are_shown_over_the_image_and_what_is_wrong_by_itself(colours: Any) -> None:
    task, manifest = find_task("segmentation"), bare_manifest(LABELS, task="segmentation", colours=colours)
    image = RANDOM.randint(0, 256, (3, 2, 3)).astype(np.uint8)
    said, target = np.array([[0, 1, 2], [2, 1, 0]], np.uint8), np.array([[0, 2, 255], [2, 255, 1]], np.uint8)
    table, plain = np.array(colours or voc_colours(3)), image.transpose(1, 2, 0).astype(int)
    (first, shown), (second, true), (third, over), (fourth, wrong) = task.show(said, target, image, manifest)
    assert (first, second, third, fourth) == ("image", "true", "said", "wrong pixels, as they were said")
    assert shown.tolist() == plain.tolist()
    assert task.legend(manifest) == list(zip(LABELS, map(tuple, table.tolist()), strict=True))
    for row in range(2):
        for column in range(3):
            here, of_said, of_true = plain[row, column], table[said[row, column]], target[row, column]
            assert over[row, column].tolist() == (here // 2 + of_said // 2).tolist()
            grey = [int(here.mean() * 0.6 + 90)] * 3
            if of_true == 255:
                assert true[row, column].tolist() == here.tolist()
                assert wrong[row, column].tolist() == grey
                continue
            assert true[row, column].tolist() == (here // 2 + table[of_true] // 2).tolist()
            assert wrong[row, column].tolist() == (grey if of_true == said[row, column] else of_said.tolist())


@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_the_square_that_a_model_sees_is_shown(task: str) -> None:
    image = RANDOM.randint(0, 256, (3, 2, 5)).astype(np.uint8)
    ((what, shown),) = find_task(task).show(np.zeros(3), 0, image, bare_manifest(LABELS))
    assert what == "what the model sees"
    assert np.array_equal(shown, image.transpose(1, 2, 0))


def evaluation(task: str, **changes: Any) -> Evaluation:
    values: dict[str, Any] = {
        "images": 7,
        "held_out": False,
        "is_part": False,
        "labels": LABELS,
        "confusion": ((3, 1, 0), (0, 2, 0), (0, 0, 0)),
        "unreadable": (),
        "intervals": {},
    }
    return Evaluation(task=task, **values | changes)


def test_the_table_of_masks_has_shares_and_leaves_out_what_is_not_there() -> None:
    found = evaluation(
        "segmentation",
        figures={"miou": 0.5, "dice": 0.25, "mean_accuracy": 0.125, "pixel_accuracy": 0.75, "boundary_iou": None},
        classes={"pixels": (30, 0, 10), "iou": (0.5, 0.0, 0.25), "accuracy": (0.75, 0.0, 1.0)},
        intervals={"miou": (0.4, 0.6)},
    )
    said = find_task("segmentation").tabulate(found)
    assert said.headline == [
        "mIoU 50.00% (40.0 to 60.0)",
        "Dice 25.00%",
        "mean accuracy 12.50%",
        "pixel accuracy 75.00%",
    ]
    assert said.columns == {
        "pixels": ["75.00%", "", "25.00%"],
        "IoU": ["50.00%", "", "25.00%"],
        "right": ["75.00%", "", "100.00%"],
    }
    assert said.remarks == ["Classes without pixels there count as 0 in the means: 1 of 3."]
    assert not said.confusion


def test_the_table_of_classes_has_what_is_right_of_each() -> None:
    figures = {"top1": 0.625, "top5": 1.0, "loss": 0.5, "f1_macro": 0.25, "auroc": None, "brier": 0.125, "ece": 0.0625}
    classes = {"per_class": (0.75, 1.0, None), "precision": (1.0, 2 / 3, None), "f1": (0.5, 0.25, None)}
    found = evaluation("classification", figures=figures, classes=classes, intervals={"top1": (0.5, 0.7)})
    said = find_task("classification").tabulate(found)
    assert said.headline == ["top-1 62.50% (50.0 to 70.0)", "top-5 100.00%", "loss 0.5000"]
    assert said.columns == {
        "images": ["4", "2", "0"],
        "right": ["75.00%", "100.00%", ""],
        "precision": ["100.00%", "66.67%", ""],
        "F1": ["50.00%", "25.00%", ""],
    }
    assert said.remarks == ["F1 0.2500  Brier 0.1250  calibration error 0.0625"]
    assert said.confusion


@pytest.mark.parametrize(
    ("decided", "remarks"),
    [
        ({"unknown": 0.25, "known_right": 0.5}, ["unknown 25.00%, 50.00% of the other answers right"]),
        ({"unknown": 1.0, "known_right": None}, ["unknown 100.00%"]),
        (
            {"set_coverage": 0.875, "set_size": 1.5},
            ["sets hold 87.50% of the true classes, with 1.50 classes on average"],
        ),
    ],
)
def test_what_a_calibrated_bundle_decides_is_said_in_words(decided: dict[str, Any], remarks: list[str]) -> None:
    more = dict.fromkeys(("f1_macro", "auroc", "brier", "ece"))
    figures = {"top1": 0.5, "top5": 1.0, "loss": 0.5, **more, **decided}
    found = evaluation("classification", figures=figures, classes={"per_class": (), "precision": (), "f1": ()})
    assert find_task("classification").tabulate(found).remarks == ["", *remarks]


def test_figures_that_are_not_measured_are_none() -> None:
    task = find_task("classification")
    results = task.new_evaluation(bare_manifest(LABELS))
    results.add([np.array([0.0, 1, 0], np.float32)], [1])
    figures = task.figures(results)
    assert figures["auroc"] is None
    assert (figures["top1"], figures["f1_macro"]) == (1, 1)
