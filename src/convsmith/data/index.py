"""Which images a data set has, and the class of each: packed arrays, so that workers share them instead of copying."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.bands import decode
from convsmith.bundle.images.decode import LeastSize, Picture
from convsmith.data.checks.look import Seen
from convsmith.data.contents import Content, Contents, digest_of
from convsmith.data.folders.files import FilesBuilder
from convsmith.data.group_split import Groups
from convsmith.data.packed_labels import PackedLabels
from convsmith.spec import RGB, Bands


class Index:
    """Images, each with the number of its class, or with several: `Samples` of whole images.

    Args:
        images: where they are.
        targets: int64 `[N]`, the class number of each; or a hash of its set of classes.
        labels: those of images that may have several; None: each has one class.
    """

    def __init__(self, images: Contents, targets: NDArray[np.int64], labels: PackedLabels | None = None) -> None:
        self.images, self._targets, self.labels = images, targets, labels

    def __len__(self) -> int:
        return len(self._targets)

    def __repr__(self) -> str:
        return f"Index({len(self)} images)"

    @property
    def targets(self) -> NDArray[np.int64]:
        """The number of the class of each image, or a hash of its set of classes, int64 `[N]`."""
        return self._targets

    def target(self, i: int) -> Any:
        """The class number of image i; or which classes it has, 0 or 1, uint8 `[K]`."""
        return int(self._targets[i]) if self.labels is None else self.labels.row(i)

    def name(self, i: int) -> str:
        """The name of image i in messages. IndexError if i is not in 0 to N - 1."""
        return self.images[i].name

    def contents(self, i: int) -> tuple[Content, ...]:
        """Image i alone."""
        return (self.images[i],)

    def read(self, i: int, bands: Bands = RGB, least: LeastSize | None = None) -> tuple[Picture, Any]:
        """Image i, upright, and its target. ImageError, which names it, if it cannot be read; `least` as there."""
        image = self.images[i]
        return decode(image.read(), image.name, bands, least), self.target(i)

    @property
    def names(self) -> NDArray[np.uint64]:
        """A hash of what names each image, uint64 `[N]`."""
        return self.images.names

    @property
    def stats(self) -> NDArray[np.int64]:
        """Size in bytes and time of change in nanoseconds of each image, int64 `[N, 1, 2]`; 0 where there is none."""
        return self.images.stats[:, None]

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
        """The size of image i, or an ImageError if it cannot be read: all of it, or its header."""
        image = self.images[i]
        if not closely:
            header = image.header(bands)
            return Seen(header.height, header.width, (image.hash_of_ends(),), header[2:])
        data = image.read()
        return Seen.closely(data, decode(data, image.name, bands), (image.hash_of_ends(),), bands)

    def digest(self) -> str:
        """SHA-256 of what names the images, and of the targets, in their order: names them wherever they lie."""
        return digest_of(self.images, self._targets)

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Index:
        """The images at `indices` (int `[M]`, each in 0 to N - 1), in that order."""
        labels = None if self.labels is None else self.labels.select(indices)
        return Index(self.images.select(indices), self._targets[np.asarray(indices, np.int64)], labels)


class IndexBuilder:
    """Collects relative paths class by class and packs them into an `Index`."""

    def __init__(self, root: Path) -> None:
        self._files = FilesBuilder(root)
        self._targets = array("q")

    def __len__(self) -> int:
        return len(self._targets)

    def add(self, target: int, names: Iterable[bytes]) -> None:
        """Append files of class `target`; `names` are paths relative to the root, as the file system spells them."""
        for name in names:
            self._files.add(name)
            self._targets.append(target)

    def add_packed(self, target: int, buffer: NDArray[np.uint8], lengths: NDArray[np.int32]) -> None:
        """Append files of class `target` by their relative paths one after another, and the bytes of each."""
        self._files.add_packed(buffer, lengths)
        self._targets.frombytes(np.full(len(lengths), target, np.int64).tobytes())

    def build(self) -> Index:
        """The index of all files added, in the order of adding."""
        return Index(self._files.build(), np.frombuffer(self._targets, np.int64))
