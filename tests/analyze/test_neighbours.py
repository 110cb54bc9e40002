from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from convsmith.analyze import neighbours
from convsmith.analyze.neighbours import knn_predict, linear_probe, nearest

Data = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]


@pytest.fixture(scope="module")
def clusters() -> Data:
    """Training rows and their classes, and rows to ask about: three clouds that overlap."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, 16))
    targets = random.integers(0, 3, 400)
    rows = (centres[targets] + random.normal(size=(400, 16))).astype(np.float32)
    return rows[:300], targets[:300], rows[300:]


@pytest.fixture(params=["at once", "in blocks"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in blocks":
        monkeypatch.setattr(neighbours, "_BLOCK", 37)
        monkeypatch.setattr(neighbours, "_QUERIES", 11)


@pytest.mark.usefixtures("_blocks")
def test_the_nearest_are_those_of_scikit_learn(clusters: Data) -> None:
    rows, _, query = clusters
    distances, expected = NearestNeighbors(n_neighbors=5, metric="cosine").fit(rows).kneighbors(query)
    numbers, cosines = nearest(rows, query, 5)
    np.testing.assert_array_equal(numbers, expected)
    np.testing.assert_allclose(cosines, 1 - distances, atol=1e-6)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("k", [1, 20])
def test_neighbours_vote_as_in_scikit_learn(clusters: Data, k: int) -> None:
    rows, targets, query = clusters
    expected = KNeighborsClassifier(k, metric="cosine").fit(rows, targets).predict(query)
    np.testing.assert_array_equal(knn_predict(rows, targets, query, k), expected)


@pytest.mark.usefixtures("_blocks")
def test_the_linear_probe_is_that_of_scikit_learn(clusters: Data) -> None:
    rows, targets, query = clusters
    rows, query = rows.copy(), query.copy()
    rows[:, 3] = query[:, 3] = 7  # a number that says nothing
    expected = make_pipeline(StandardScaler(), RidgeClassifier(alpha=1.0)).fit(rows, targets).predict(query)
    np.testing.assert_array_equal(linear_probe(rows, targets, query), expected)


def test_fewer_embeddings_than_asked_for_are_all_given() -> None:
    numbers, cosines = nearest(np.eye(2, dtype=np.float32), np.array([[1, 0.5]], np.float32), 5)
    assert numbers.tolist() == [[0, 1]]
    assert cosines.shape == (1, 2)


def test_an_embedding_of_zeros_is_near_to_nothing() -> None:
    numbers, cosines = nearest(np.array([[0, 0], [1, 0]], np.float32), np.array([[2, 0]], np.float32), 2)
    assert (numbers.tolist(), cosines.tolist()) == ([[1, 0]], [[1, 0]])
