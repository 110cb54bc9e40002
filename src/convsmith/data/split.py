"""Holding out a part of a class for validation, the same part on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b


def split_files(names: Sequence[bytes], val_fraction: float) -> tuple[list[bytes], list[bytes]]:
    """Split one class's files into (train, val), each in the order of `names`.

    Files are ranked by a hash of their path, and the first `round(val_fraction * N)` go to val: at least one when
    there are two, never all. A file's rank does not depend on the others, so adding m files moves at most m of the
    old ones from one side to the other.

    Args:
        names: paths relative to the data folder, each once.
        val_fraction: above 0, below 1.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction is {val_fraction}, not between 0 and 1")
    count = max(min(round(val_fraction * len(names)), len(names) - 1), min(1, len(names) - 1), 0)
    ranked = sorted(names, key=lambda name: (blake2b(name, digest_size=8).digest(), name))
    held_out = set(ranked[:count])
    return [name for name in names if name not in held_out], [name for name in names if name in held_out]
