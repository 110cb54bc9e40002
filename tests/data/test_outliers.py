from __future__ import annotations

import numpy as np

from convsmith.data.checks.outliers import distances_to_class, find_outliers


def test_the_image_that_is_far_from_its_class_is_found_and_others_are_not() -> None:
    random = np.random.default_rng(0)
    classes = np.repeat([0, 1], 50)
    features = random.normal(classes[:, None] * 20.0, 1.0, (100, 8))
    features[[7, 60]] = features[[60, 7]]  # each is usual, but in the other's class
    assert sorted(find_outliers(distances_to_class(features, classes), classes).tolist()) == [7, 60]


def test_distances_are_those_to_the_five_nearest_of_the_class() -> None:
    features, classes = np.arange(12.0)[:, None] ** 2, np.zeros(12, np.int64)
    expected = np.sort(np.abs(features - features.T), axis=1)[:, 1:6].mean(axis=1)
    np.testing.assert_allclose(distances_to_class(features, classes), expected, rtol=1e-5)


def test_small_classes_have_no_outliers() -> None:
    features = np.array([[0.0]] * 9 + [[1000.0]])
    classes = np.zeros(10, np.int64)
    assert find_outliers(distances_to_class(features, classes), classes).tolist() == []


def test_large_classes_are_compared_with_a_part_of_them() -> None:
    features = np.random.default_rng(0).normal(0, 1, (5000, 4))
    features[4321] = 1000
    classes = np.zeros(5000, np.int64)
    assert find_outliers(distances_to_class(features, classes), classes)[0] == 4321
