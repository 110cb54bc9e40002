"""Which images and masks a data set has: two packed indexes, so that workers share them instead of copying."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.data.index import Index, IndexBuilder
from convsmith.data.mask_file import MaskRules, check_pair_header, read_pair


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

    def files(self, i: int) -> tuple[Path, ...]:
        """The image, which pair i is called by, and its mask."""
        return self.image(i), self.mask(i)

    def read(self, i: int) -> tuple[Image.Image, NDArray[np.uint8]]:
        """Image i as Pillow RGB, upright, and the classes of its pixels, uint8 `[H, W]`, 255 where they do not count.

        Raises:
            ImageError: one of the files cannot be read, or they do not fit.
        """
        return read_pair(self.image(i), self.mask(i), self.rules)

    def check(self, i: int, decode: bool) -> None:
        """Raise the ImageError that `read` would: all of it, or what sizes and headers tell."""
        if decode:
            self.read(i)
        else:
            check_pair_header(self.image(i), self.mask(i))

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
