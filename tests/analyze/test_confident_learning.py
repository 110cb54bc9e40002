from __future__ import annotations

import json

import numpy as np

from convsmith.analyze.confident_learning import find_label_errors
from tests.conftest import REPOSITORY

GOLDEN = json.loads((REPOSITORY / "tests/goldens/label_errors.json").read_text())


def test_the_errors_and_their_order_are_those_of_cleanlab() -> None:
    found = find_label_errors(np.array(GOLDEN["labels"]), np.array(GOLDEN["probabilities"]))
    assert found.tolist() == GOLDEN["issues"]


def test_a_sure_model_that_agrees_finds_nothing() -> None:
    labels = np.array([0, 1, 2, 0])
    assert find_label_errors(labels, np.eye(3)[labels]).tolist() == []


def test_classes_that_no_image_has_are_never_the_right_ones() -> None:
    probabilities = np.array([[0.1, 0.0, 0.9], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    assert find_label_errors(np.array([0, 0, 1]), probabilities).tolist() == []
