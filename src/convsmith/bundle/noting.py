"""A model that keeps the embeddings beside the logits that it gives. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.runtime import Infer

Both = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""A model as a function: images [N, C, H, W] to logits and embeddings [N, D]."""


class Noting:
    """A model as tasks ask it, whose embeddings are there afterwards.

    Args:
        both: the model.
    """

    def __init__(self, both: Both) -> None:
        self._both = both
        self._rows: list[NDArray[np.float32]] = []

    @property
    def infer(self) -> Infer:
        """Images to logits; what else the model gives is kept."""

        def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            logits, rows = self._both(images)
            self._rows.append(rows)
            return logits

        return run

    def taken(self, images: int) -> NDArray[np.float32]:
        """The embeddings [N, D] of the `images` that were asked since; an image of several looks has their mean.

        It is empty where the model was not asked."""
        rows = np.concatenate(self._rows) if self._rows else np.empty((0, 0), np.float32)
        self._rows.clear()
        return rows if len(rows) in (0, images) else rows.mean(axis=0, keepdims=True)
