"""The answer of a model of several labels, and what its task says of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from convsmith.bundle.classification import Label
from convsmith.bundle.multilabel import Multilabel, probabilities_of
from convsmith.bundle.tasks.multilabel import TASK, LabelsAnswer
from convsmith.errors import ConvsmithError
from tests.colours import bare_manifest

LABELS = ("cat", "dog", "eel", "fox")
THRESHOLDS = (0.5, 0.2, 0.9, 0.5)


def logits(*probabilities: float) -> np.ndarray:
    p = np.array(probabilities, np.float64)
    return np.log(p / (1 - p)).astype(np.float32)


def answer(*probabilities: float, thresholds: tuple[float, ...] | None = THRESHOLDS) -> Multilabel:
    return Multilabel(logits(*probabilities), LABELS, thresholds)


def test_the_labels_are_the_classes_that_reach_their_thresholds_the_most_probable_first() -> None:
    assert [it.label for it in answer(0.6, 0.3, 0.8, 0.1).labels] == ["cat", "dog"]
    assert [it.label for it in answer(0.6, 0.7, 0.95, 0.1).labels] == ["eel", "dog", "cat"]


def test_a_probability_that_equals_its_threshold_reaches_it() -> None:
    x = logits(0.3, 0.3, 0.3, 0.3)
    assert Multilabel(x, LABELS, tuple(probabilities_of(x))).class_ids == [0, 1, 2, 3]


def test_without_thresholds_one_half_counts() -> None:
    assert answer(0.6, 0.3, 0.8, 0.1, thresholds=None).class_ids == [2, 0]


def test_an_image_may_have_none_of_the_labels() -> None:
    assert answer(0.1, 0.1, 0.1, 0.1).labels == []


def test_the_probabilities_are_sigmoids_that_need_not_sum_to_one() -> None:
    assert answer(0.6, 0.3, 0.8, 0.1).probabilities == pytest.approx([0.6, 0.3, 0.8, 0.1])


@pytest.mark.parametrize(("logit", "probability"), [(200.0, 1.0), (-200.0, 0.0), (0.0, 0.5)])
def test_large_logits_overflow_nowhere(logit: float, probability: float) -> None:
    with np.errstate(all="raise", under="ignore"):
        assert probabilities_of(np.array([logit], np.float32)) == pytest.approx([probability])


def test_top_lists_the_most_probable_whether_they_are_there_or_not() -> None:
    top = answer(0.6, 0.3, 0.8, 0.1).top(3)
    assert [it.label for it in top] == ["eel", "cat", "dog"]
    assert top[0] == Label(2, "eel", top[0].score)
    assert top[0].score == pytest.approx(0.8)


def test_top_of_no_class_is_refused() -> None:
    with pytest.raises(ConvsmithError, match="at least one"):
        answer(0.6, 0.3, 0.8, 0.1).top(0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_an_error(bad: float) -> None:
    with pytest.raises(ConvsmithError, match="not finite"):
        Multilabel(np.array([0.0, bad], np.float32), ("a", "b"))


def test_json_is_of_the_schemas_shape() -> None:
    one = answer(0.6, 0.3, 0.8, 0.1)
    one.meta = {"runtime": "onnxruntime", "device": "cpu", "provider": "CPUExecutionProvider"}
    said = json.loads(json.dumps(TASK.to_json(one, top=2)))
    assert LabelsAnswer.model_validate(said).model_dump(exclude_none=True) == said
    assert [[it["label"] for it in said[key]] for key in ("labels", "top")] == [["cat", "dog"], ["eel", "cat"]]


def test_lines_and_rows_hold_the_labels_or_the_top_ones() -> None:
    said = answer(0.6, 0.3, 0.8, 0.1)
    assert TASK.entries(said) == [("60.00%", "cat"), ("30.00%", "dog")]
    assert [label for _, label in TASK.entries(said, top=1)] == ["eel"]
    assert [row[:2] for row in TASK.csv_rows(said)] == [(0, "cat"), (1, "dog")]
    assert [row[3] for row in TASK.csv_rows(said)] == [0.5, 0.2]


def test_an_image_without_labels_still_has_a_line_and_a_row() -> None:
    said = answer(0.1, 0.1, 0.1, 0.1)
    assert TASK.entries(said) == [("no", "label")]
    assert TASK.csv_rows(said) == [("", "", "", "")]


def test_two_forms_of_a_model_agree_where_they_say_the_same_of_each_class() -> None:
    manifest = bare_manifest(LABELS, thresholds=THRESHOLDS)
    assert TASK.decisions(logits(0.6, 0.3, 0.8, 0.1), manifest).tolist() == [True, True, False, False]
