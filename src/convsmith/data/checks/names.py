"""Names of samples by their place among those of all splits, one split after another."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import numpy as np

from convsmith.data.dataset import DataSet, splits
from convsmith.errors import printable

MOST_NAMED = 1000
"""How many of each kind are named, since of millions of files nearly all may be of it."""


def all_names(dataset: DataSet) -> Callable[[int | np.integer], str]:
    """The printable name of a sample by its place among those of all splits."""
    parts = list(splits(dataset).values())
    ends = list(accumulate(map(len, parts)))

    def name(place: int | np.integer) -> str:
        part = int(np.searchsorted(ends, place, side="right"))
        return printable(parts[part].name(int(place) - ends[part] + len(parts[part])))

    return name
