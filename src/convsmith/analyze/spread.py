"""An order of which any beginning is taken evenly of all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0.6180339887498949  # of its multiples, the parts below 1 leave no large gaps, however many there are


def spread(count: int) -> NDArray[np.int64]:
    """The numbers below `count`, int64 [count], so that whoever stops on the way has seen as much of each part."""
    order: NDArray[np.int64] = np.argsort(np.argsort(np.arange(count) * _GOLDEN % 1)).astype(np.int64)
    return order
