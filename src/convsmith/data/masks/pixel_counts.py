"""How many pixels of each class a data set has: what class weights are made of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.data.masks.mask_file import read_mask
from convsmith.data.masks.pairs import PairIndex
from convsmith.machine import available_cores

_CHUNK = 16


def count_pixels(pairs: PairIndex, num_classes: int) -> NDArray[np.int64]:
    """The pixels of each class in all masks, int64 `[K]`; those that do not count are left out.

    Args:
        pairs: the files; only the masks are read.
        num_classes: K.

    Raises:
        ImageError: a mask cannot be read.
    """

    def count_chunk(first: int) -> NDArray[np.int64]:
        counts = np.zeros(256, np.int64)
        for i in range(first, min(first + _CHUNK, len(pairs))):
            counts += Image.fromarray(read_mask(pairs.masks[i], pairs.rules)).histogram()
        return counts

    total = np.zeros(256, np.int64)
    starts = range(0, len(pairs), _CHUNK)
    pool = ThreadPoolExecutor(available_cores())
    try:
        for counts in pool.map(count_chunk, starts):
            total += counts
    finally:
        pool.shutdown(cancel_futures=True)  # after an error, do not first read all the rest
    return total[:num_classes]
