"""Embeddings that are kept while a task asks a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.noting import Noting


def both(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rows = images.reshape(len(images), -1)[:, :2].astype(np.float32)
    return rows + 100, rows


def images(*numbers: int) -> NDArray[np.uint8]:
    return np.array(numbers, np.uint8).reshape(-1, 1, 1, 2)


def test_each_image_has_its_embedding_and_many_looks_at_one_their_mean() -> None:
    noting = Noting(both)
    assert noting.infer(images(1, 2, 3, 4)).tolist() == [[101, 102], [103, 104]]
    noting.infer(images(5, 6))
    assert noting.taken(3).tolist() == [[1, 2], [3, 4], [5, 6]]
    noting.infer(images(1, 2, 3, 6))
    noting.infer(images(5, 10))
    assert noting.taken(1).tolist() == [[3, 6]]
    assert noting.taken(1).shape == (0, 0)
    noting.infer(images(7, 8))
    assert noting.taken(1).tolist() == [[7, 8]]
