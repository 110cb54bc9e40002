"""Splits in which no group of images is in two parts, such as the images of one patient."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from convsmith.errors import ConvsmithError, counted, quoted


class PackedNames(Sequence[str]):
    """Many names in one buffer, so that processes share them.

    Args:
        buffer: uint8 `[B]`, the names one after another in UTF-8.
        offsets: int64 `[G + 1]`; name i is `buffer[offsets[i]:offsets[i + 1]]`.
    """

    def __init__(self, buffer: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self.buffer, self.offsets = buffer, offsets

    @classmethod
    def pack(cls, names: Iterable[str]) -> PackedNames:
        """Pack some names."""
        buffer, offsets = bytearray(), array("q", [0])
        for name in names:
            buffer += name.encode()
            offsets.append(len(buffer))
        return cls(np.frombuffer(buffer, np.uint8), np.frombuffer(offsets, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[str]: ...
    def __getitem__(self, i: int | slice) -> str | Sequence[str]:
        if isinstance(i, slice):
            return [self[one] for one in range(*i.indices(len(self)))]
        if not 0 <= i < len(self):
            raise IndexError(f"name {i} of {len(self)}")
        return self.buffer[self.offsets[i] : self.offsets[i + 1]].tobytes().decode()


@dataclass(frozen=True)
class Groups:
    """The group of each of N images.

    Attributes:
        of: the number of each image's group, int64 `[N]`.
        names: of all groups, by their numbers; there may be more than `of` has.
    """

    of: NDArray[np.int64]
    names: Sequence[str]

    def select(self, chosen: NDArray[np.int64]) -> Groups:
        """Those of the images at `chosen`."""
        return Groups(self.of[chosen], self.names)

    def count(self) -> int:
        """How many groups the images are of."""
        return len(np.unique(self.of))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle None: another process reads images, and does not split them; of millions the names would be many."""
        return type(None), ()


def groups_in_both(groups: Groups | None, train: NDArray[np.int64], val: NDArray[np.int64]) -> list[str]:
    """A note about groups that are in both of two parts, int64 each, the numbers of their images."""
    if groups is None:
        return []
    both = np.intersect1d(groups.of[train], groups.of[val])
    return [f"in train and val: the groups {quoted(groups.names[i] for i in both)}"] if len(both) else []


def parts_of_groups(groups: Groups, strata: NDArray[np.int64], fraction: float, folds: int) -> NDArray[np.int64]:
    """The part that each image goes to, int64 `[N]`, whole groups at a time, on every machine alike.

    The largest group comes first, among equals by a hash of its name. Each goes where, counted over its images, the
    strata are filled least with it: so each part gets about its share of each stratum.

    Args:
        groups: the group of each image.
        strata: such as the class of each, int64 `[N]`.
        fraction: without folds, the share of part 0; the others go to part 1.
        folds: the number of parts that are alike; 0: see `fraction`.

    Raises:
        ConvsmithError: there are fewer groups than parts.
    """
    shares = np.full(folds, 1 / folds) if folds else np.array([fraction, 1 - fraction])
    numbers, of = np.unique(groups.of, return_inverse=True)
    if len(numbers) < len(shares):
        raise ConvsmithError(
            f"there is {counted(len(numbers), 'group')} of images, to be split into {len(shares)} parts",
            "no group may be in training and in validation",
            "Give more groups, or images for validation" + (", or a smaller data.folds." if folds else "."),
        )
    kinds, kind_of = np.unique(strata, return_inverse=True)
    pairs, counts = np.unique(of * len(kinds) + kind_of, return_counts=True)
    group_of, members = np.divmod(pairs, len(kinds))
    starts = np.searchsorted(group_of, np.arange(len(numbers) + 1))
    sizes = np.bincount(of)
    totals = np.append(np.bincount(kind_of), len(of))  # the last stratum is all of them
    room = shares[:, None] * totals
    left = room.copy()
    names = [groups.names[int(i)] for i in numbers]
    hashes = [blake2b(name.encode(), digest_size=8).digest() for name in names]
    part_of = np.zeros(len(numbers), np.int64)
    for g in sorted(range(len(numbers)), key=lambda g: (-sizes[g], hashes[g], names[g])):
        its = slice(starts[g], starts[g + 1])
        where, many = np.append(members[its], len(kinds)), np.append(counts[its], sizes[g])
        free = ((left[:, where] - many) / room[:, where] * (many / totals[where])).sum(axis=1)
        free = free.round(9)  # processors may differ in the last bits
        part_of[g] = len(shares) - 1 - int(free[::-1].argmax())  # of two alike, train
        left[part_of[g], where] -= many
    return part_of[of]


def give_back(held_out: NDArray[np.bool_], strata: NDArray[np.int64], groups: Groups) -> None:
    """Train on groups held out after all, the smallest ones, until no stratum lacks in training."""
    while (lacking := np.setdiff1d(strata, strata[~held_out])).size:
        with_it = np.unique(groups.of[strata == lacking[0]])
        sizes = [(int((groups.of == number).sum()), groups.names[number], number) for number in with_it]
        held_out[groups.of == min(sizes)[2]] = False
