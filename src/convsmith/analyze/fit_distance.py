"""Fitting how far images are from the training images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.distance import DistanceFacts, Distances, file_of, unit

NEIGHBOURS = 10
MOST = 10_000
"""Training images that are kept: of 512 numbers each, 10 MB. More change little: the paper keeps one in a hundred."""

_STEPS = 101  # quantiles: the percentiles


def fit_distances(rows: NDArray[np.float32], held_out: NDArray[np.float32]) -> tuple[bytes, DistanceFacts]:
    """The file of a bundle's distances, and what its manifest says of them.

    Args:
        rows: embeddings of training images, [N, D], of which at most `MOST`, evenly of all, are kept.
        held_out: embeddings of images that had no part in the training, which give the percentiles, [V, D].
    """
    count = min(MOST, len(rows))
    known = unit(rows[[i * len(rows) // count for i in range(count)]])
    content = file_of(known)
    values = Distances(known.astype(np.float16), NEIGHBOURS).values(held_out)
    quantiles = tuple(float(it) for it in np.quantile(values, np.linspace(0, 1, _STEPS)))
    facts = DistanceFacts(images=count, neighbours=NEIGHBOURS, quantiles=quantiles, held_out=len(held_out))
    return content, facts
