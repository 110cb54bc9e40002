"""A data set as trainer and tasks see it: samples by number, whatever they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from convsmith.spec import RGB, Bands

if TYPE_CHECKING:  # evaluate runs where torch is not installed
    from torch import Tensor

    from convsmith.bundle.images.decode import Picture
    from convsmith.data.checks.copies import Copies
    from convsmith.data.checks.look import Looks, Seen
    from convsmith.data.contents import Content
    from convsmith.data.group_split import Groups
    from convsmith.recipe.augmentation import Augment
    from convsmith.spec import Preprocessing

Split = Literal["train", "val", "extra"]
"""`extra` is what the second phase of a training learns from, where that is not `train` again."""

Decode = Literal["exact", "scaled"]
"""Images in their own size, or JPEGs as small as their crops allow."""

Make = Callable[[], NDArray[np.uint8]]

Keep = Callable[[int, Make], NDArray[np.uint8]]
"""Pixels, uint8 `[H, W, C]`, of a sample by its number: those that were kept of it, or what the function makes."""


def keep_nothing(_number: int, make: Make) -> NDArray[np.uint8]:
    """Make the pixels each time."""
    return make()


Reader = Callable[[int], "tuple[Tensor, Tensor]"]
"""From a sample's number to its image, uint8 `[C, H, W]`, and its target; raises an ImageError for bad files."""


class Findings(NamedTuple):
    """Facts about a data set, in words.

    Attributes:
        notes: lines worth printing.
        warnings: what is probably not meant.
        copies: images that are where they must not be twice.
    """

    notes: Sequence[str]
    warnings: Sequence[str]
    copies: Sequence[Copies] = ()


class Samples(Protocol):
    """The samples of one split, in a fixed order."""

    def __len__(self) -> int: ...

    @property
    def targets(self) -> NDArray[np.int64]:
        """A number for each sample, int64 `[N]`: its class, or a hash of its set of classes; 0 where it has a mask."""

    def name(self, i: int) -> str:
        """The name of sample i in messages, such as the path of its image."""

    def contents(self, i: int) -> tuple[Content, ...]:
        """The image of sample i, and where it has one its mask."""

    def read(self, i: int, bands: Bands = RGB) -> tuple[Picture, Any]:
        """The image of sample i, upright, and its target. ImageError, which names it, if it cannot be read.

        The target is its class; or which classes it has, uint8 `[K]` of 0 and 1; or the classes of its pixels, uint8
        `[H, W]`, 255 where they do not count.
        """

    @property
    def names(self) -> NDArray[np.uint64]:
        """A hash of what names each sample, such as the paths of its files below the data's root, uint64 `[N]`."""

    @property
    def stats(self) -> NDArray[np.int64]:
        """Size in bytes and time of change in nanoseconds of the F contents of each sample, int64 `[N, F, 2]`.

        They are asked for once; 0 where there is nothing.
        """

    @property
    def shards(self) -> NDArray[np.int32] | None:
        """The number of the archive that each sample lies in, int32 `[N]`; None where each lies alone."""

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """How often each is drawn beside others, float64 `[N]`, NaN where nothing says it; None where it is of none."""

    @property
    def groups(self) -> Groups | None:
        """The group of each, such as a patient, that must not be in two parts; None where they are of none."""

    def look(self, i: int, closely: bool, bands: Bands = RGB) -> Seen:
        """Look at sample i, or raise the ImageError that reading it would: at all of it, or at its headers."""

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Samples:
        """The samples at `indices`, in that order."""


class DataSet(Protocol):
    """The splits of a data set, and how their samples are read."""

    @property
    def root(self) -> Path:
        """The folder, as an absolute path."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class."""

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...] | None:
        """RGB of each class, 0 to 255, where the data set has such colours."""

    @property
    def train(self) -> Samples:
        """The samples to learn from."""

    @property
    def val(self) -> Samples:
        """The samples to judge by."""

    @property
    def extra(self) -> Samples | None:
        """The samples that the second phase learns from; None: `train` again."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines worth printing: what was left out, what was held out."""

    @property
    def names_digest(self) -> str:
        """Names the files, their classes and the splits, wherever the folder lies; nothing is read."""

    def count_classes(self, used: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often each class is in the samples of `train` at `used`, int64 `[K]`: images, or pixels of masks."""

    @property
    def counted(self) -> Literal["images", "pixels"]:
        """The nouns for the numbers of `class_counts`."""

    def class_counts(self, split: Split, looks: Looks) -> NDArray[np.int64]:
        """How often each class is in a split, int64 `[K]`: images, or pixels of the masks that a look saw."""

    def findings(self, looks: Mapping[Split, Looks], used: NDArray[np.int64]) -> Findings:
        """Facts that a look at all samples tells before the first step.

        Args:
            looks: at each split.
            used: which samples of `train` are learned from.

        Raises:
            ConvsmithError: nothing can be learned from it, or judged by it, as it is.
        """

    def check_val_size(self, height: int, width: int, preprocess: Preprocessing) -> None:
        """Raise the ImageTooLarge that judging by an image of this size would."""

    def training_reader(
        self,
        split: Split,
        augment: Augment,
        preprocess: Preprocessing,
        decode: Decode = "exact",
        keep: Keep = keep_nothing,
    ) -> Reader:
        """How a split is read to learn from; random numbers come from torch's default generator.

        Args:
            split: which.
            augment: what happens to images.
            preprocess: what else is known of that.
            decode: how images are decoded.
            keep: keeps what is made of each sample before anything is random, by its number in the split.
        """

    def validation_reader(self, split: Split, preprocess: Preprocessing) -> Reader:
        """How a split is read to be judged by."""


def splits(dataset: DataSet) -> dict[Split, Samples]:
    """The splits that there are."""
    named: dict[Split, Samples | None] = {"train": dataset.train, "val": dataset.val, "extra": dataset.extra}
    return {split: samples for split, samples in named.items() if samples is not None}


def num_samples(dataset: DataSet) -> int:
    """Samples of all splits together."""
    return sum(map(len, splits(dataset).values()))
