"""Distances of embeddings, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from convsmith.bundle.distance import DistanceFacts, Distances, file_of, file_size, read_distances, to_json, unit

KNOWN = np.array([[1, 0], [0, 1], [-1, 0], [0.6, 0.8]], np.float32)


@pytest.mark.parametrize(
    ("neighbours", "expected"),
    [(1, [0.0, 0.0, 1.0]), (2, [0.4, 0.2, 1.0]), (3, [1.0, 1.0, 1.8]), (4, [2.0, 1.0, 2.0]), (9, [2.0, 1.0, 2.0])],
)
def test_the_distance_is_1_less_the_cosine_to_the_kth_nearest(neighbours: int, expected: list[float]) -> None:
    rows = np.array([[5, 0], [0, 2], [0, -3]], np.float32)
    assert Distances(KNOWN, neighbours).values(rows).tolist() == pytest.approx(expected, abs=1e-6)


def test_each_row_has_the_length_1_and_zeros_stay() -> None:
    assert unit(np.array([[3, 4], [0, 0], [0, 0.5]])).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)],
        [0, 0],
        [0, 1],
    ]


def test_the_percentile_says_how_many_that_were_held_out_are_nearer() -> None:
    distances = Distances(KNOWN[:1], 1, (0.0, 0.5, 1.0, 1.5, 2.0))
    far = distances.of(np.array([0, 7], np.float32))
    assert (far.value, far.percentile) == (1.0, 50.0)
    assert distances.of(np.array([-1, 0], np.float32)).percentile == 100.0
    assert distances.of(np.array([0.75, np.sqrt(1 - 0.75**2)], np.float32)).percentile == pytest.approx(12.5, abs=1e-4)
    assert to_json(far) == {"distance": {"value": 1.0, "percentile": 50.0}}
    assert to_json(None) == {}


def test_a_file_of_half_precision_is_read_as_it_was_written() -> None:
    content = file_of(KNOWN)
    assert len(content) == file_size(4, 2) == 16
    facts = DistanceFacts(images=4, neighbours=1, quantiles=(0.0, 1.0), held_out=3)
    read = read_distances(facts, 2, {"distance.bin": content})
    assert read is not None
    assert read.values(KNOWN).tolist() == pytest.approx([0] * 4, abs=1e-3)
    assert read.of(np.array([0, -1], np.float32)).percentile == 100
    assert read_distances(None, 2, {}) is None
    assert read_distances(facts, None, {}) is None
