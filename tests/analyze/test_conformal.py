"""Prediction sets: the thresholds of the textbook, and the coverage that is promised."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from convsmith.analyze.conformal import fewest_images, fit_sets
from convsmith.bundle.calibration import in_set
from convsmith.bundle.classification import softmax

CLASSES = 4


def drawn(images: int, seed: int, classes: int = CLASSES) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probabilities of a model that is too sure, and what is true; the classes are ever rarer and harder."""
    random = np.random.RandomState(seed)
    share = 1 / np.arange(1, classes + 1)
    true = random.choice(classes, images, p=share / share.sum())
    strength = 4 - np.arange(classes)
    logits = random.standard_normal((images, classes)) * 2 + np.eye(classes)[true] * strength[true, None]
    return softmax(2 * logits), true[:, None] == np.arange(classes)


@given(st.integers(9, 400), st.sampled_from([0.8, 0.9, 0.5]), st.integers(0, 1000))
def test_a_shared_threshold_is_the_quantile_of_split_conformal_prediction(n: int, coverage: float, seed: int) -> None:
    """The ceil((n + 1) coverage)-th smallest of the scores 1 - p, with one class of which all images are."""
    p = np.random.RandomState(seed).random_sample((n, 1))
    quantile = np.sort(1 - p[:, 0])[math.ceil(round((n + 1) * coverage, 9)) - 1]
    assert fit_sets(p, np.ones((n, 1), np.bool_), coverage).thresholds[0] == pytest.approx(1 - quantile, abs=1e-12)


@pytest.mark.parametrize(("coverage", "fewest"), [(0.5, 1), (0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999), (0.7, 3)])
def test_the_fewest_images_are_as_many_as_have_a_threshold(coverage: float, fewest: int) -> None:
    assert fewest_images(coverage) == fewest
    p, truth = drawn(fewest, 0, 1)
    assert fit_sets(p, truth, coverage).thresholds == (p.min(),)


@pytest.mark.parametrize("coverage", [0.9, 0.95])
def test_sets_hold_the_true_class_as_often_as_asked_for(coverage: float) -> None:
    """Over many draws: each share is within four standard deviations of what theory gives it."""
    held, draws, images = [], 60, 200
    for seed in range(draws):
        p, truth = drawn(300 + images, seed)
        sets = fit_sets(p[:300], truth[:300], coverage)
        held.append(in_set(p[300:], sets.thresholds)[truth[300:]].mean())
    spread = math.sqrt(coverage * (1 - coverage) / (images * draws) + coverage * (1 - coverage) / (300 * draws))
    assert coverage - 4 * spread <= np.mean(held) <= coverage + CLASSES / 300 + 4 * spread


def test_each_class_with_an_own_threshold_has_the_coverage() -> None:
    """One threshold for all would leave the rarest and hardest class at less than half of it."""
    coverage, held, alone = 0.9, [], []
    for seed in range(30):
        p, truth = drawn(2000, seed)
        sets = fit_sets(p[:1000], truth[:1000], coverage)
        assert sets.shared == ()
        one = fit_sets(p[:1000], np.where(truth[:1000].any(axis=1, keepdims=True), truth[:1000], False), coverage)
        held.append(in_set(p[1000:], sets.thresholds)[truth[1000:, 3].nonzero()[0], 3].mean())
        marginal = np.sort(p[:1000][truth[:1000]])[math.floor(1001 * 0.1) - 1]
        alone.append((p[1000:][truth[1000:, 3], 3] >= marginal).mean())
        assert one.thresholds == sets.thresholds
    assert np.mean(held) >= coverage - 0.01
    assert np.mean(alone) < 0.75


def rows(*counts: int) -> NDArray[np.bool_]:
    return np.repeat(np.eye(len(counts), dtype=np.bool_), counts, axis=0)


@pytest.mark.parametrize(
    ("counts", "shared"),
    [
        ((19, 19, 19), ()),
        ((19, 19, 18), (2,)),  # 18 images give the one threshold that 9 are enough for
        ((19, 19, 8), (0, 1, 2)),  # 8 give none
        ((19, 5, 4), (1, 2)),
        ((19, 4, 4), (0, 1, 2)),
        ((19, 19, 0), (2,)),
    ],
)
def test_classes_share_a_threshold_where_they_have_too_few_images(
    counts: tuple[int, ...], shared: tuple[int, ...]
) -> None:
    truth = rows(*counts)
    p = softmax(np.random.RandomState(0).standard_normal(truth.shape))
    sets = fit_sets(p, truth, 0.9)
    assert sets.shared == shared
    assert len({sets.thresholds[k] for k in shared if counts[k]}) <= 1


def test_a_class_without_images_has_the_threshold_of_all() -> None:
    truth = rows(19, 19, 0)
    p = softmax(np.random.RandomState(0).standard_normal(truth.shape))
    place = math.floor(39 * 0.1)
    assert fit_sets(p, truth, 0.9).thresholds[2] == np.sort(p[truth])[place - 1]


def test_several_labels_are_each_held_as_often_as_asked_for() -> None:
    coverage, held, true = 0.9, np.zeros(CLASSES), np.zeros(CLASSES)
    for seed in range(40):
        random = np.random.RandomState(seed)
        p = random.random_sample((800, CLASSES))
        truth = random.random_sample(p.shape) < p * [0.9, 0.6, 0.3, 0.1]
        sets = fit_sets(p[:400], truth[:400], coverage)
        chosen = in_set(p[400:], sets.thresholds)
        held, true = held + (chosen & truth[400:]).sum(axis=0), true + truth[400:].sum(axis=0)
    assert (held / true >= coverage - 4 * np.sqrt(0.09 / true) - 0.01).all()
