"""Images, each of one class or of several, as a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.preprocess import check_size
from convsmith.data.checks.duplicates import duplicates
from convsmith.data.checks.look import Looks
from convsmith.data.dataset import Decode, Findings, Keep, Reader, Split, keep_nothing
from convsmith.data.index import Index
from convsmith.recipe.augmentation import Augment
from convsmith.spec import Preprocessing


@dataclass(frozen=True)
class ImageData:
    """A data set for classification, or for several labels.

    Attributes:
        root: the folder that it lies in, as an absolute path.
        classes: the labels, NFC-normalised, sorted by code point; the position of a label is its target.
        train: the training images.
        val: the validation images; none of them where nothing is held out.
        notes: lines worth printing: what was left out, what was held out.
    """

    root: Path
    classes: tuple[str, ...]
    train: Index
    val: Index
    notes: tuple[str, ...]

    extra: None = None  # the second phase of a training learns from `train` again
    colours: None = None
    counted: Literal["images"] = "images"

    @property
    def names_digest(self) -> str:
        """Names the files, their classes and the split, wherever the folder lies; nothing is read."""
        return f"{self.train.digest()} {self.val.digest()}"

    def count_classes(self, used: NDArray[np.int64]) -> NDArray[np.int64]:
        """The images of each class, int64 `[K]`, among the training images at `used`."""
        return self._counts(self.train.select(used))

    def class_counts(self, split: Split, looks: Looks) -> NDArray[np.int64]:  # noqa: ARG002  # all images have classes
        """The images of each class in a split, int64 `[K]`."""
        return self._counts(self._index(split))

    def findings(self, looks: Mapping[Split, Looks], used: NDArray[np.int64]) -> Findings:  # noqa: ARG002  # all
        """The images that are where they must not be twice."""
        twice = "in two classes" if self.train.labels is None else "there twice with different labels"
        return Findings([], [], duplicates(self, looks["train"], looks["val"], twice))

    def check_val_size(self, height: int, width: int, preprocess: Preprocessing) -> None:
        """Raise the ImageTooLarge of a strip too long and thin to be resized."""
        check_size(width, height, preprocess)

    def training_reader(
        self,
        split: Split,
        augment: Augment,
        preprocess: Preprocessing,
        decode: Decode = "exact",
        keep: Keep = keep_nothing,
    ) -> Reader:
        """How a split is read to learn from."""
        from convsmith.data.read_image import ScaledImages, TrainingImages  # need torch, which evaluate does without

        if decode == "scaled":
            return ScaledImages(self._index(split), augment, preprocess)
        return TrainingImages(self._index(split), augment, preprocess, keep)

    def validation_reader(self, split: Split, preprocess: Preprocessing) -> Reader:
        """How a split is read to be judged by: as in predict and serve."""
        from convsmith.data.read_image import ValidationImages

        return ValidationImages(self._index(split), preprocess)

    def _counts(self, index: Index) -> NDArray[np.int64]:
        labels = index.labels
        return np.bincount(index.targets, minlength=len(self.classes)) if labels is None else labels.counts()

    def _index(self, split: Split) -> Index:
        return self.val if split == "val" else self.train
