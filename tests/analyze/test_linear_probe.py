from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from convsmith.analyze.linear_probe import FOLDS, predict_in_folds

Numbers = NDArray[np.float64]


def clouds(count: int = 300) -> tuple[Numbers, NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of three classes that overlap, their classes, and folds."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, count)
    return random.normal(size=(3, 6))[labels] + random.normal(size=(count, 6)), labels, random.integers(0, FOLDS, count)


def test_each_fold_is_predicted_as_by_scikit_learn_from_the_others() -> None:
    numbers, labels, folds = clouds()
    found = predict_in_folds(numbers, labels, folds, 3)
    for fold in range(FOLDS):
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.01).fit(
            numbers[folds != fold], labels[folds != fold]
        )
        np.testing.assert_allclose(found[folds == fold], theirs.predict_proba(numbers[folds == fold]), atol=1e-6)


def test_an_image_does_not_vouch_for_its_own_label() -> None:
    numbers, labels, folds = clouds()
    numbers[0], folds[0] = 100, 0
    other = np.where(np.arange(len(labels)) == 0, (labels + 1) % 3, labels)
    first, second = (predict_in_folds(numbers, it, folds, 3)[0] for it in (labels, other))
    np.testing.assert_allclose(first, second)


def test_a_class_that_only_one_fold_has_is_not_predicted_there() -> None:
    numbers, labels, folds = clouds()
    labels[folds == 2] = 3
    assert not predict_in_folds(numbers, labels, folds, 4)[folds == 2, 3].any()


@pytest.mark.parametrize("count", [0, 1, 4])
def test_few_images_are_no_error(count: int) -> None:
    numbers, labels, folds = clouds()
    assert np.isfinite(predict_in_folds(numbers[:count], labels[:count], folds[:count], 3)).all()
