from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from convsmith.bundle.classification import Classification, Label
from convsmith.errors import ConvsmithError

LABELS = ("cat", "dog", "eel", "fox")


def classify(*logits: float) -> Classification:
    return Classification(np.array(logits, np.float32), LABELS[: len(logits)])


def test_the_largest_logit_wins() -> None:
    answer = classify(0.0, 2.0, 1.0)
    assert (answer.class_id, answer.label) == (1, "dog")


def test_the_score_is_the_softmax_probability() -> None:
    assert classify(np.log(1), np.log(2), np.log(5)).score == pytest.approx(5 / 8, abs=1e-6)


def test_top_lists_the_most_probable_first() -> None:
    answer = classify(np.log(1), np.log(5), np.log(2))
    assert answer.top(2) == [Label(1, "dog", answer.probabilities[1]), Label(2, "eel", answer.probabilities[2])]


def test_top_beyond_the_number_of_classes_lists_all() -> None:
    assert len(classify(1.0, 2.0, 3.0).top(50)) == 3


def test_top_of_no_class_is_refused() -> None:
    with pytest.raises(ConvsmithError, match="at least one"):
        classify(1.0, 2.0).top(0)


def test_equal_logits_rank_by_class_as_argmax_does() -> None:
    assert [label.class_id for label in classify(1.0, 3.0, 3.0, 1.0).top(4)] == [1, 2, 0, 3]


def test_to_dict_is_json_of_the_documented_shape() -> None:
    answer = json.loads(json.dumps(classify(0.0, 9.0, 1.0).to_dict(top=2)))
    assert answer["class_id"] == 1
    assert answer["label"] == "dog"
    assert answer["score"] == answer["top"][0]["score"]
    assert [set(entry) for entry in answer["top"]] == [{"class_id", "label", "score"}] * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_an_error(bad: float) -> None:
    with pytest.raises(ConvsmithError, match="not finite"):
        classify(0.0, bad)


@given(arrays(np.float32, st.integers(1, 4), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_probabilities_sum_to_one_and_agree_with_argmax(logits: np.ndarray) -> None:
    answer = classify(*logits)
    assert answer.probabilities.sum() == pytest.approx(1)
    assert answer.class_id == np.argmax(logits)


def test_an_answer_that_is_kept_does_not_keep_its_batch() -> None:
    batch = np.zeros((32, 4), np.float32)
    assert Classification(batch[3], LABELS).logits.base is None
