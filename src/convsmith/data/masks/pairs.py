"""Which images and masks a data set has: packed arrays, so that workers share them instead of copying."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.images.decode import Picture
from convsmith.data.checks.look import Seen
from convsmith.data.contents import Content, Contents, digest_of
from convsmith.data.folders.files import Files, FilesBuilder
from convsmith.data.group_split import Groups
from convsmith.data.masks.mask_file import MaskRules, read_mask_of, read_pair
from convsmith.spec import RGB, Bands


@dataclass(frozen=True)
class PairIndex:
    """Images, each with its mask: `Samples` of a segmentation.

    Attributes:
        images: where the images are.
        masks: where the masks are, in the same order.
        rules: what the pixels of the masks mean.
    """

    images: Contents
    masks: Contents
    rules: MaskRules

    def __post_init__(self) -> None:
        if len(self.images) != len(self.masks):
            raise ValueError(f"{len(self.images)} images, but {len(self.masks)} masks")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def targets(self) -> NDArray[np.int64]:
        """All 0: no pair has a single class."""
        return np.zeros(len(self), np.int64)

    def name(self, i: int) -> str:
        """The name of image i in messages. IndexError if i is not in 0 to N - 1."""
        return self.images[i].name

    def contents(self, i: int) -> tuple[Content, ...]:
        """Image i and its mask."""
        return self.images[i], self.masks[i]

    def read(self, i: int, bands: Bands = RGB) -> tuple[Picture, NDArray[np.uint8]]:
        """Image i, upright, and the classes of its pixels, uint8 `[H, W]`, 255 where they do not count.

        Raises:
            ImageError: one of the two cannot be read, or they do not fit.
        """
        return read_pair(self.images[i], self.masks[i], self.rules, bands)

    @property
    def names(self) -> NDArray[np.uint64]:
        """A hash of what names each pair, uint64 `[N]`."""
        return self.images.names ^ (self.masks.names << np.uint64(1))

    @cached_property
    def stats(self) -> NDArray[np.int64]:
        """Size in bytes and time of change in nanoseconds of image and mask, int64 `[N, 2, 2]`; 0 where none is."""
        return np.stack([self.images.stats, self.masks.stats], axis=1)

    @property
    def shards(self) -> NDArray[np.int32] | None:
        """The number of the archive of each image; None where each lies alone."""
        return self.images.shards

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """How often each image is drawn beside others; None where that is of none."""
        return self.images.weights

    @property
    def groups(self) -> Groups | None:
        """The group of each image; None where they are of none."""
        return self.images.groups

    def look(self, i: int, closely: bool, bands: Bands = RGB) -> Seen:
        """The size of image i and the pixels of its mask, or the ImageError that `read` would raise.

        With `closely` the image is read as a whole, else its header; the mask is read either way.
        """
        image, mask = self.contents(i)
        if closely:
            data = image.read()
            picture, classes = read_pair(Content(image.name, lambda: io.BytesIO(data)), mask, self.rules, bands)
            content = image.hash_of_ends(), mask.hash_of_ends()
            return Seen.closely(data, picture, content, bands, _histogram(classes))
        classes = read_mask_of(image, mask, self.rules, bands)
        height, width = classes.shape
        content = image.hash_of_ends(), mask.hash_of_ends()
        return Seen(height, width, content, image.header(bands)[2:], pixels=_histogram(classes))

    def digest(self) -> str:
        """SHA-256 of what names images and masks in their order: names the pairs wherever they lie."""
        images, masks = (digest_of(contents, self.targets) for contents in (self.images, self.masks))
        return hashlib.sha256(f"{images} {masks}".encode()).hexdigest()

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> PairIndex:
        """The pairs at `indices` (int `[M]`, each in 0 to N - 1), in that order."""
        return PairIndex(self.images.select(indices), self.masks.select(indices), self.rules)


def _histogram(classes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The pixels of each value, int64 `[256]`."""
    return np.array(Image.fromarray(classes).histogram())


def pack_paths(root: Path, pairs: Iterable[tuple[bytes, bytes]]) -> tuple[Files, Files]:
    """The images and the masks of (image, mask) paths relative to `root`, as the file system spells them."""
    images, masks = FilesBuilder(root), FilesBuilder(root)
    for image, mask in pairs:
        images.add(image)
        masks.add(mask)
    return images.build(), masks.build()
