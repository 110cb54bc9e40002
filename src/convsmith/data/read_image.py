"""One labelled image, as it is learned from and as it is judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convsmith.bundle.images.decode import Picture
from convsmith.bundle.preprocess import as_input
from convsmith.data.augment.transform import drawn_transform, resized_first, train_transform
from convsmith.data.dataset import Keep, keep_nothing
from convsmith.data.index import Index
from convsmith.recipe.augmentation import Augment
from convsmith.spec import Preprocessing, Size

_STRIP = 1024  # rows


@dataclass(frozen=True)
class TrainingImages:
    """Reads a file of the index as an augmented image, uint8 `[C, S, S]`, with its class, int64, or all of its classes.

    The latter are 0 or 1, uint8 `[K]`.
    """

    index: Index
    augment: Augment
    preprocess: Preprocessing
    keep: Keep = keep_nothing

    @cached_property
    def _transform(self) -> Callable[[NDArray[np.uint8]], Tensor]:
        return train_transform(self.augment, self.preprocess)  # made in the worker: it cannot be pickled

    def __call__(self, i: int) -> tuple[Tensor, Tensor]:
        """Raises an ImageError if the file is bad."""
        pixels = self.keep(i, lambda: self._prepared(i))
        return self._transform(pixels), torch.tensor(self.index.target(i))

    def _prepared(self, i: int) -> NDArray[np.uint8]:
        """The image before anything is random."""
        pixels = pixels_of(self.index.read(i, self.preprocess.bands)[0])
        return pixels if self.keep is keep_nothing else resized_first(pixels, self.augment, self.preprocess)


@dataclass(frozen=True)
class ScaledImages:
    """`TrainingImages`, decoded as small as their crops allow."""

    index: Index
    augment: Augment
    preprocess: Preprocessing

    @cached_property
    def _begin(self) -> Callable[[Size], tuple[Size, Callable[[NDArray[np.uint8]], Tensor]]]:
        return drawn_transform(self.augment, self.preprocess)

    def __call__(self, i: int) -> tuple[Tensor, Tensor]:
        """Raises an ImageError if the file is bad."""
        transform: Callable[[NDArray[np.uint8]], Tensor] | None = None

        def least(whole: Size) -> Size:
            nonlocal transform
            size, transform = self._begin(whole)
            return size

        picture, target = self.index.read(i, self.preprocess.bands, least)
        pixels = pixels_of(picture)
        if transform is None:  # only a JPEG asks
            least(pixels.shape[:2])
        assert transform is not None
        return transform(pixels), torch.tensor(target)


@dataclass(frozen=True)
class ValidationImages:
    """Reads a file of the index as predict and serve do, uint8 `[C, crop, crop]`, with its class or classes."""

    index: Index
    preprocess: Preprocessing

    def __call__(self, i: int) -> tuple[Tensor, Tensor]:
        """Raises an ImageError if the file is bad."""
        picture, target = self.index.read(i, self.preprocess.bands)
        return torch.from_numpy(as_input(picture, self.preprocess)), torch.tensor(target)


def pixels_of(picture: Picture) -> NDArray[np.uint8]:
    """The pixels of an image, uint8 `[H, W, C]`, that may be written to.

    Pillow hands out copies; strip by strip they are small, or the largest images would be held four times.
    """
    if isinstance(picture, np.ndarray):
        return picture
    width, height = picture.size
    if height <= _STRIP:
        return np.array(picture)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        pixels[top:bottom] = np.asarray(picture.crop((0, top, width, bottom)))
    return pixels
