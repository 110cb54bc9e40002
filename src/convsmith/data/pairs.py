"""Which images and masks a data set has: two packed indexes, so that workers share them instead of copying."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.data.index import Index, IndexBuilder
from convsmith.data.look import Seen, hash_of_ends
from convsmith.data.mask_file import MaskRules, read_mask_of, read_pair


@dataclass(frozen=True)
class PairIndex:
    """Images, each with its mask.

    Attributes:
        images: the files of the images; their targets are all 0.
        masks: the files of the masks, in the same order.
        rules: what the pixels of the masks mean.
    """

    images: Index
    masks: Index
    rules: MaskRules

    def __post_init__(self) -> None:
        if len(self.images) != len(self.masks):
            raise ValueError(f"{len(self.images)} images, but {len(self.masks)} masks")

    def __len__(self) -> int:
        return len(self.images)

    def image(self, i: int) -> Path:
        """The path of image i. IndexError if i is not in 0 to N - 1."""
        return self.images.path(i)

    def mask(self, i: int) -> Path:
        """The path of the mask of image i. IndexError if i is not in 0 to N - 1."""
        return self.masks.path(i)

    @property
    def targets(self) -> NDArray[np.int64]:
        """All 0: no pair has a single class."""
        return self.images.targets

    def name(self, i: int) -> str:
        """The path of image i as text."""
        return self.images.name(i)

    def open(self, i: int) -> IO[bytes]:
        """Image i as a file, open for reading bytes. OSError if it cannot be."""
        return self.images.open(i)

    def files(self, i: int) -> tuple[Path, ...]:
        """The image, which pair i is called by, and its mask."""
        return self.image(i), self.mask(i)

    def read(self, i: int) -> tuple[Image.Image, NDArray[np.uint8]]:
        """Image i as Pillow RGB, upright, and the classes of its pixels, uint8 `[H, W]`, 255 where they do not count.

        Raises:
            ImageError: one of the files cannot be read, or they do not fit.
        """
        return read_pair(self.image(i), self.mask(i), self.rules)

    @property
    def names(self) -> NDArray[np.uint64]:
        """A hash of the relative paths of each pair, uint64 `[N]`."""
        return self.images.names ^ (self.masks.names << np.uint64(1))

    @cached_property
    def stats(self) -> NDArray[np.int64]:
        """Size in bytes and time of change in nanoseconds of image and mask, int64 `[N, 2, 2]`; 0 where none is."""
        return np.concatenate([self.images.stats, self.masks.stats], axis=1)

    def look(self, i: int, decode: bool) -> Seen:
        """The size of image i and the pixels of its mask, or the ImageError that `read` would raise.

        With `decode` the image is read as a whole, else its header; the mask is read either way.
        """
        if decode:
            _, mask = self.read(i)
        else:
            mask = read_mask_of(self.image(i), self.mask(i), self.rules)
        height, width = mask.shape
        content = tuple(hash_of_ends(path) for path in self.files(i))
        return Seen(height, width, content, np.array(Image.fromarray(mask).histogram()))

    def digest(self) -> str:
        """SHA-256 of the relative paths in their order: names the pairs wherever they lie."""
        return hashlib.sha256(f"{self.images.digest()} {self.masks.digest()}".encode()).hexdigest()

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> PairIndex:
        """The pairs at `indices` (int `[M]`, each in 0 to N - 1), in that order, as a new index."""
        return PairIndex(self.images.select(indices), self.masks.select(indices), self.rules)


def pack_pairs(root: Path, pairs: Iterable[tuple[bytes, bytes]], rules: MaskRules) -> PairIndex:
    """The index of (image, mask) paths relative to `root`, as the file system spells them, in their order."""
    images, masks = IndexBuilder(root), IndexBuilder(root)
    for image, mask in pairs:
        images.add(0, [image])
        masks.add(0, [mask])
    return PairIndex(images.build(), masks.build(), rules)
