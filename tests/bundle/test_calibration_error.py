"""The expected calibration error, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from convsmith.bundle.figures.calibration_error import bins_of, calibration_error, equal_bins


def test_a_bin_holds_its_lower_edge_and_the_last_one_both() -> None:
    assert equal_bins(np.array([0, 1 / 15, 0.0667, 0.5, 14 / 15, 0.99, 1.0])).tolist() == [0, 1, 1, 7, 14, 14, 14]


def test_bins_of_equal_width_and_of_equally_many() -> None:
    probabilities = np.linspace(0.9, 0.6, 30).reshape(2, 15)
    bins = bins_of(probabilities)
    assert np.bincount(bins["adaptive_ece"].ravel()).tolist() == [2] * 15
    assert bins["adaptive_ece"][0, :3].tolist() == [14, 14, 13]
    assert bins["ece"].tolist() == equal_bins(probabilities).tolist()


def test_the_error_weighs_each_bins_gap_by_its_number() -> None:
    confidence, right = np.array([0.9, 0.9, 0.9, 0.5]), np.array([True, True, False, True])
    assert calibration_error(confidence, right) == pytest.approx(3 / 4 * (0.9 - 2 / 3) + 1 / 4 * 0.5)
