"""Holding out a part of a class for validation, the same part on every machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from convsmith.data.group_split import Groups, give_back, parts_of_groups


@dataclass(frozen=True)
class Share:
    """The images held out where none are for validation: a share, or one of some folds.

    Attributes:
        fraction: above 0, below 1; for folds it means nothing.
        fold: which of the folds, from 0; None where there are none.
        folds: how many there are.
    """

    fraction: float
    fold: int | None = None
    folds: int = 0

    def __post_init__(self) -> None:
        if self.fold is None and not 0 < self.fraction < 1:
            raise ValueError(f"a fraction of {self.fraction} is not between 0 and 1")

    def ranks(self, total: int, before: int) -> NDArray[np.int64]:
        """Which of the images of a class go to val, by their rank in it: one at least of two, never all.

        Args:
            total: images of the class.
            before: images of the classes before it: folds are dealt out through all classes.
        """
        if self.fold is None:
            return np.arange(max(min(round(self.fraction * total), total - 1), min(1, total - 1), 0))
        return np.arange((self.fold - before) % self.folds, total if total > 1 else 0, self.folds)


def split_files(names: Sequence[bytes], share: Share) -> tuple[list[bytes], list[bytes]]:
    """Split one class's files into (train, val), each in the order of `names`.

    Files are ranked by a hash of their path, and the first `round(fraction * N)` go to val: at least one when
    there are two, never all. A file's rank does not depend on the others, so adding m files moves at most m of the
    old ones from one side to the other. Folds are dealt out in the order of the ranks.

    Args:
        names: paths relative to the data folder, each once.
        share: what to hold out.
    """
    ranked = sorted(names, key=lambda name: (blake2b(name, digest_size=8).digest(), name))
    held_out = {ranked[rank] for rank in share.ranks(len(names), 0)}
    return [name for name in names if name not in held_out], [name for name in names if name in held_out]


Keep = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]
"""From the places of files to train on and of those held out, which of the latter must be trained on after all."""


def hold_out(
    hashes: NDArray[np.uint64],
    strata: NDArray[np.int64],
    share: Share,
    keep: Keep | None = None,
    groups: Groups | None = None,
) -> NDArray[np.bool_]:
    """Which of N files go to val, as `split_files` would split each stratum one after another, bool `[N]`.

    Args:
        hashes: the `names` of the files, uint64 `[N]`.
        strata: such as the class of each, int64 `[N]`.
        share: what to hold out.
        keep: gives back some of them.
        groups: those that must not be in both.

    Raises:
        ConvsmithError: there are too few groups.
    """
    if groups is not None:
        held_out: NDArray[np.bool_]
        held_out = parts_of_groups(groups, strata, share.fraction, share.folds) == (share.fold or 0)
        give_back(held_out, strata, groups)
    else:
        held_out = np.zeros(len(hashes), np.bool_)
        order = np.lexsort((hashes.view(">u8"), strata))  # the bytes of a hash in their order
        before = 0
        for rows in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1):
            held_out[rows[share.ranks(len(rows), before)]] = True
            before += len(rows)
    if keep is not None:
        places = np.flatnonzero(held_out)
        back = places[keep(np.flatnonzero(~held_out), places)]
        held_out[back if groups is None else np.isin(groups.of, groups.of[back])] = False
    return held_out
