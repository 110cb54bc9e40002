from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from convsmith.analyze import fit_distance
from convsmith.analyze.fit_distance import NEIGHBOURS, fit_distances
from convsmith.bundle.distance import DISTANCE, Distances, file_size, read_distances

Clouds = tuple[NDArray[np.float32], NDArray[np.float32]]


@pytest.fixture(scope="module")
def clouds() -> Clouds:
    """Training rows in two clouds, and rows of both that were held out."""
    random = np.random.default_rng(0)
    centres = np.array([[9, 0, 0, 0, 3, 0], [0, 0, 9, 0, 0, 3]])
    rows = (random.normal(size=(900, 6)) + centres[random.integers(0, 2, 900)]).astype(np.float32)
    return rows[:600], rows[600:]


def fitted(rows: NDArray[np.float32], held_out: NDArray[np.float32]) -> Distances:
    content, facts = fit_distances(rows, held_out)
    found = read_distances(facts, rows.shape[1], {DISTANCE: content})
    assert found is not None
    return found


def test_the_distance_is_that_to_the_tenth_neighbour_as_scikit_learn_finds_it(clouds: Clouds) -> None:
    rows, held_out = clouds
    nearest, _ = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine").fit(rows).kneighbors(held_out)
    np.testing.assert_allclose(fitted(*clouds).values(held_out), nearest[:, -1], atol=1e-3)  # kept in float16


def test_percentiles_are_those_of_images_that_were_held_out(clouds: Clouds) -> None:
    distances, held_out = fitted(*clouds), clouds[1]
    order = np.argsort(distances.values(held_out))
    shares = [distances.of(held_out[i]).percentile for i in (order[0], order[150], order[-1])]
    assert shares == pytest.approx([0, 50, 100], abs=0.5)


def test_what_is_of_neither_cloud_is_far(clouds: Clouds) -> None:
    distances, held_out = fitted(*clouds), clouds[1]
    strange = (np.random.default_rng(1).normal(size=(200, 6)) + np.array([0, 9, 0, 0, 0, 0])).astype(np.float32)
    values = distances.values(np.concatenate([held_out, strange]))
    assert roc_auc_score([0] * len(held_out) + [1] * 200, values) > 0.99


def test_a_bounded_number_of_training_images_is_kept(clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_distance, "MOST", 50)
    content, facts = fit_distances(*clouds)
    assert (facts.images, len(content)) == (50, file_size(50, 6))


def test_fewer_images_than_neighbours_do() -> None:
    rows = np.eye(3, dtype=np.float32)
    assert fitted(rows, rows).of(rows[0]).value == pytest.approx(1)


def test_an_embedding_of_zeros_has_a_distance(clouds: Clouds) -> None:
    assert fitted(*clouds).of(np.zeros(6, np.float32)).value == pytest.approx(1)
