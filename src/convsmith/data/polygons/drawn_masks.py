"""Masks that are drawn from areas each time they are read, as `Contents` like files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.data.contents import Content, Contents
from convsmith.data.polygons.packed_shapes import PackedShapes
from convsmith.spec import Bands


@dataclass(frozen=True)
class DrawnMasks:
    """The masks of some images.

    Attributes:
        shapes: the areas of all images.
        images: the images themselves, of which the ones without a size are asked for theirs.
        chosen: the numbers of those images whose masks these are, int64 `[N]`.
        values: the value in a mask of each label, last but one of what has no area, and last of what does not count.
        path: what messages call the file that they were outlined in.
        channels: of the images.
    """

    shapes: PackedShapes
    images: Contents
    chosen: NDArray[np.int64]
    values: NDArray[np.uint8]
    path: str
    channels: int = 3

    shards: None = None
    weights: None = None
    groups: None = None

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, i: int) -> Content:
        return Content(f"drawn from {self.path}", partial(self._open, int(self.chosen[i])))

    def _open(self, i: int) -> IO[bytes]:
        """A PNG file of the mask of image i."""
        width, height = self.shapes.sizes[i].tolist()
        size = (width, height) if width else self.images[i].check_header(Bands(self.channels))
        file = io.BytesIO()
        Image.fromarray(self.shapes.draw(i, size, self.values)).save(file, "PNG", compress_level=1)
        file.seek(0)
        return file

    @property
    def key(self) -> tuple[NDArray[np.generic], ...]:
        """The areas, and the values that they have."""
        return self.stats, self.values

    @property
    def names(self) -> NDArray[np.uint64]:
        """A hash of what names the image of each."""
        return self.images.names[self.chosen]

    @property
    def stats(self) -> NDArray[np.int64]:
        """The bytes of the areas, and in place of a time a hash of them: they have no file of their own."""
        return self.shapes.stats[self.chosen]

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> DrawnMasks:
        """The masks at `indices`, in that order."""
        return replace(self, chosen=self.chosen[np.asarray(indices, np.int64)])
