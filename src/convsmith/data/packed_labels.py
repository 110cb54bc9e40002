"""The labels of images that have several, as packed arrays, so that workers share them instead of copying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from convsmith.data.folders.files import select_texts


@dataclass(frozen=True)
class PackedLabels:
    """Classes of many images, one image after another.

    Attributes:
        members: the class numbers, int32 `[M]`, ascending in each image.
        offsets: those of image i are `members[offsets[i]:offsets[i + 1]]`, int64 `[N + 1]`.
        num_classes: K.
    """

    members: NDArray[np.int32]
    offsets: NDArray[np.int64]
    num_classes: int

    @classmethod
    def pack(cls, images: NDArray[np.int64], members: NDArray[np.int32], shape: tuple[int, int]) -> PackedLabels:
        """Pack pairs of image and class, int `[M]` each, in any order; `shape` is (N, K)."""
        order = np.lexsort((members, images))
        counts = np.bincount(images, minlength=shape[0])
        return cls(members[order], np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), shape[1])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, i: int) -> NDArray[np.uint8]:
        """Which classes image i has, 0 or 1, uint8 `[K]`."""
        there = np.zeros(self.num_classes, np.uint8)
        there[self.members[self.offsets[i] : self.offsets[i + 1]]] = 1
        return there

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> PackedLabels:
        """The images at `indices`, in that order."""
        chosen = np.asarray(indices, np.int64)
        return PackedLabels(*select_texts(self.members, self.offsets, chosen), self.num_classes)

    def counts(self) -> NDArray[np.int64]:
        """The images of each class, int64 `[K]`."""
        return np.bincount(self.members, minlength=self.num_classes)

    def hashes(self) -> NDArray[np.int64]:
        """A number for each image, int64 `[N]`, which those with the same classes have in common."""
        of_class = b"".join(blake2b(b"%d" % k, digest_size=8).digest() for k in range(self.num_classes))
        values = np.frombuffer(of_class, "<u8").astype(np.uint64)[self.members]
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])
        hashes: NDArray[np.int64] = (sums[self.offsets[1:]] - sums[self.offsets[:-1]]).view(np.int64)
        return hashes

    def rarest(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The class of each image that has the fewest `counts` `[K]`, int64 `[N]`; K where it has none."""
        ranked = np.argsort(counts, kind="stable")
        rank = np.empty_like(ranked)
        rank[ranked] = np.arange(self.num_classes)
        found = np.full(len(self), self.num_classes)
        some = np.diff(self.offsets) > 0
        if some.any():
            found[some] = ranked[np.minimum.reduceat(rank[self.members], self.offsets[:-1][some])]
        return found

    def first_with(self, k: int) -> int:
        """The first image that has class k."""
        place = int((self.members == k).argmax())
        return int(np.searchsorted(self.offsets, place, side="right")) - 1


def rows_to_keep(train: PackedLabels, val: PackedLabels) -> NDArray[np.bool_]:
    """Which of the images held out must be trained on after all, bool `[M]`, so that no class lacks there.

    Args:
        train: the labels of those to train on.
        val: the labels of those held out.
    """
    back = np.zeros(len(val), bool)
    for k in np.flatnonzero((train.counts() == 0) & (val.counts() > 0)):
        back[val.first_with(int(k))] = True
    return back
