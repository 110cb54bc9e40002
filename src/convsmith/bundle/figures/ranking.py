"""The classes with the highest logits, in one order everywhere. Needs no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def highest_classes(logits: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The `count` classes with the highest logits, or all K where there are fewer: int64 [N, count], the highest first.

    Equal logits rank by class, the lower one first, as argmax does; what is not a number comes last. Only what reaches
    the `count`-th logit is sorted: with 21,841 classes a full sort takes longer than some models do.

    Args:
        logits: [N, K].
        count: at least 1.
    """
    negated = -logits
    count = min(count, logits.shape[1])
    lowest = np.partition(negated, count - 1, axis=1)[:, count - 1 : count]
    rows, classes = np.nonzero(~(negated > lowest))  # those that equal the last one too, and what is not a number
    order = np.lexsort((negated[rows, classes], rows))  # stable
    starts = np.searchsorted(rows, np.arange(len(logits)))
    highest: NDArray[np.int64] = classes[order][starts[:, None] + np.arange(count)]
    return highest
