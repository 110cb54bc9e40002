"""Holding out a part of a class for validation, the same part on every machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def split_files(names: Sequence[bytes], val_fraction: float) -> tuple[list[bytes], list[bytes]]:
    """Split one class's files into (train, val), each in the order of `names`.

    Files are ranked by a hash of their path, and the first `round(val_fraction * N)` go to val: at least one when
    there are two, never all. A file's rank does not depend on the others, so adding m files moves at most m of the
    old ones from one side to the other.

    Args:
        names: paths relative to the data folder, each once.
        val_fraction: above 0, below 1.
    """
    count = _count(len(names), val_fraction)
    ranked = sorted(names, key=lambda name: (blake2b(name, digest_size=8).digest(), name))
    held_out = set(ranked[:count])
    return [name for name in names if name not in held_out], [name for name in names if name in held_out]


Keep = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]
"""From the places of files to train on and of those held out, which of the latter must be trained on after all."""


def hold_out(
    hashes: NDArray[np.uint64], groups: NDArray[np.int64], val_fraction: float, keep: Keep | None = None
) -> NDArray[np.bool_]:
    """Which of N files go to val, as `split_files` would split each group, bool `[N]`.

    Args:
        hashes: the `names` of the files, uint64 `[N]`.
        groups: such as the class of each, int64 `[N]`.
        val_fraction: above 0, below 1.
        keep: gives back some of them.
    """
    held_out = np.zeros(len(hashes), np.bool_)
    order = np.lexsort((hashes.view(">u8"), groups))  # the bytes of a hash in their order
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        held_out[rows[: _count(len(rows), val_fraction)]] = True
    if keep is not None:
        places = np.flatnonzero(held_out)
        held_out[places[keep(np.flatnonzero(~held_out), places)]] = False
    return held_out


def _count(total: int, val_fraction: float) -> int:
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction is {val_fraction}, not between 0 and 1")
    return max(min(round(val_fraction * total), total - 1), min(1, total - 1), 0)
