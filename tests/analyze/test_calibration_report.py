"""What is measured of a calibration on images that were kept back, and how it is printed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convsmith.analyze.calibration_report import CalibrationReport, measured
from convsmith.bundle.calibration import Calibration, Sets, Unknown

PLAIN = Calibration(weights=(1.0,), images={}, measured={})
LOGITS = np.log([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.4, 0.3, 0.3], [0.1, 0.1, 0.8]])
TRUTH = np.eye(3, dtype=bool)[[0, 1, 1, 2]]


def test_figures_before_and_after_are_those_of_the_probabilities() -> None:
    found = measured(LOGITS, TRUTH, PLAIN, exclusive=True)
    assert found["before"] == pytest.approx(found["after"])
    assert found["before"] == pytest.approx(
        {"ece": (0.3 + 0.5 + 0.4 + 0.2) / 4, "loss": -np.log([0.7, 0.5, 0.3, 0.8]).mean(), "accuracy": 0.75}
    )
    assert set(found) == {"before", "after"}
    sharp = measured(LOGITS, TRUTH, Calibration(weights=(2.0,), images={}, measured={}), exclusive=True)
    assert sharp["before"] == pytest.approx(found["before"])
    assert sharp["after"]["loss"] != pytest.approx(found["after"]["loss"])
    assert sharp["after"]["accuracy"] == 0.75


def test_classes_that_do_not_exclude_each_other_have_no_accuracy() -> None:
    assert set(measured(LOGITS, TRUTH, PLAIN, exclusive=False)["before"]) == {"ece", "loss"}


def test_sets_hold_classes_whose_probability_reaches_the_threshold() -> None:
    sets = Sets(coverage=0.5, thresholds=(0.29, 0.29, 0.75))
    found = measured(LOGITS, TRUTH, PLAIN.model_copy(update={"sets": sets}), exclusive=True)["sets"]
    # {0}, {1}, {0, 1}, {2}
    assert found == {
        "coverage": 1.0, "true": 4, "mean_size": 1.25, "empty": 0.0, "single": 0.75, "by_class": [1.0, 1.0, 1.0],
    }  # fmt: skip
    nothing = np.zeros_like(TRUTH)
    found = measured(LOGITS, nothing, PLAIN.model_copy(update={"sets": sets}), exclusive=False)["sets"]
    assert (found["coverage"], found["true"], found["by_class"]) == (None, 0, [None, None, None])


def test_answers_below_the_threshold_are_unknown_and_have_their_cost() -> None:
    unknown = Unknown(threshold=0.5, cost_wrong=4.0, cost_unknown=1.0)
    found = measured(LOGITS, TRUTH, PLAIN.model_copy(update={"unknown": unknown}), exclusive=True)["unknown"]
    assert found == {
        "answered": 3, "unknown": 0.25, "precision": 1.0, "cost": 0.25, "cost_of_always_answering": 1.0,
    }  # fmt: skip
    unknown = Unknown(threshold=0.3)
    found = measured(LOGITS, TRUTH, PLAIN.model_copy(update={"unknown": unknown}), exclusive=True)["unknown"]
    assert found == {"answered": 4, "unknown": 0.0, "precision": 0.75}
    unknown = Unknown(threshold=0.3, cost_wrong=4.0, cost_unknown=1.0)
    found = measured(LOGITS, TRUTH, PLAIN.model_copy(update={"unknown": unknown}), exclusive=True)["unknown"]
    assert found["cost"] == 1.0
    none = measured(LOGITS, TRUTH, PLAIN.model_copy(update={"unknown": Unknown(threshold=0.9)}), exclusive=True)
    assert none["unknown"] == {"answered": 0, "unknown": 1.0, "precision": None}


FIGURES = {
    "before": {"ece": 0.25, "loss": 1.5, "accuracy": 0.75},
    "after": {"ece": 0.0312, "loss": 0.5, "accuracy": 0.75},
}
SETS = {"coverage": 0.875, "true": 80, "mean_size": 1.5, "empty": 0.01, "single": 0.25, "by_class": [1.0, None, 0.75]}


def report(**changes: Any) -> CalibrationReport:
    """Report on a bundle of three classes, by 8 images for each part of the work."""
    images = {"scaling": 8, "thresholds": 1, "kept_back": 1250}
    values = {"weights": (0.5,), "images": images, "measured": FIGURES}
    return CalibrationReport("b", "temperature", ("a", "b\x1b", "c"), Calibration(**(values | changes)), ("a remark",))


def lines_of(made: CalibrationReport) -> list[str]:
    return [part for part in made.parts() if isinstance(part, str)]


def test_the_temperature_is_printed_with_the_figures_before_and_after() -> None:
    assert str(report()).splitlines() == [
        "temperature 2.0000, by 8 images",
        "a remark",
        "",
        " 1,250 images kept back   before    after",
        " ────────────────────────────────────────",
        " calibration error        0.2500   0.0312",
        " log loss                 1.5000   0.5000",
        " accuracy                 0.7500   0.7500",
    ]
    assert lines_of(report(weights=(1, 2, 3), bias=(0, 0, 0)))[0] == "two numbers for each class, by 8 images"


def test_rows_and_json_hold_what_is_printed() -> None:
    assert report().records() == [{"scaled": False, **FIGURES["before"]}, {"scaled": True, **FIGURES["after"]}]
    told = report().to_dict()
    assert (told["bundle"], told["method"], told["labels"], told["remarks"]) == (
        "b", "temperature", ["a", "b\x1b", "c"], ["a remark"],
    )  # fmt: skip
    assert told["weights"] == [0.5]


@pytest.mark.parametrize(
    ("shared", "told"),
    [
        ((), "each class has its own threshold"),
        ((0, 1, 2), "one threshold for all classes: there are too few images for one of each"),
        ((1,), "each class has its own threshold, but for `b\\x1b`, of which there are too few images"),
    ],
)
def test_sets_are_said_with_the_size_and_the_share_that_was_asked_for(shared: tuple[int, ...], told: str) -> None:
    sets = Sets(coverage=0.9, thresholds=(0.2, 0.2, 0.2), shared=shared)
    *_, first, second = lines_of(report(sets=sets, measured={**FIGURES, "sets": SETS}))
    assert first == (
        "sets hold 87.50% (78.5 to 93.1) of the true classes, 90.00% asked for; they have 1.50 classes on average, "
        "25.0% of them one, 1.0% none; thresholds by 1 image"
    )
    assert second == told
    nothing = {**FIGURES, "sets": {**SETS, "coverage": None}}
    assert lines_of(report(sets=sets, measured=nothing))[-2].startswith(
        "sets hold none of the true classes, for there are none, 90.00% asked for"
    )


@pytest.mark.parametrize(
    ("unknown", "found", "told"),
    [
        (
            Unknown(threshold=0.25),
            {"precision": None},
            "unknown: below 0.2500, which all of the images are",
        ),
        (
            Unknown(threshold=0.25),
            {"precision": 0.5, "answered": 100, "unknown": 0.125},
            "unknown: below 0.2500, 12.5% of 1,250; of the other answers 50.00% (40.4 to 59.6) are right",
        ),
        (
            Unknown(threshold=0.25, precision=0.99),
            {"precision": 0.5, "answered": 100, "unknown": 0.125},
            "unknown: below 0.2500, 12.5% of 1,250; of the other answers 50.00% (40.4 to 59.6) are right, 99.00% asked "
            "for with 95% certainty",
        ),
        (
            Unknown(threshold=0.25, cost_wrong=2.0, cost_unknown=1.0),
            {"precision": 0.5, "answered": 100, "unknown": 0.125, "cost": 0.5, "cost_of_always_answering": 1.0},
            "unknown: below 0.2500, 12.5% of 1,250; of the other answers 50.00% (40.4 to 59.6) are right; an image "
            "costs 0.5000, with answers to all 1.0000",
        ),
    ],
)
def test_unknown_answers_are_said_with_the_precision_of_the_others(
    unknown: Unknown, found: dict[str, Any], told: str
) -> None:
    assert lines_of(report(unknown=unknown, measured={**FIGURES, "unknown": found}))[-1] == told
