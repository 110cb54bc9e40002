"""One image with its mask, as it is learned from and as it is judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convsmith.data.augment.transform import pair_transform
from convsmith.data.dataset import Keep, keep_nothing
from convsmith.data.masks.mask_size import check_val_size
from convsmith.data.masks.pairs import PairIndex
from convsmith.data.read_image import pixels_of
from convsmith.recipe.augmentation import Augment
from convsmith.spec import Preprocessing


@dataclass(frozen=True)
class TrainingPairs:
    """Reads a pair augmented: uint8 `[C, h, w]` and `[h', w']`."""

    pairs: PairIndex
    augment: Augment
    preprocess: Preprocessing
    keep: Keep = keep_nothing

    @cached_property
    def _transform(self) -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], tuple[Tensor, Tensor]]:
        return pair_transform(self.augment, self.preprocess)  # made in the worker: it cannot be pickled

    def __call__(self, i: int) -> tuple[Tensor, Tensor]:
        """Raises an ImageError if a file is bad or they do not fit."""
        if self.keep is keep_nothing:
            picture, mask = self.pairs.read(i, self.preprocess.bands)
            return self._transform(pixels_of(picture), mask)
        both = self.keep(i, lambda: self._joined(i))
        return self._transform(np.ascontiguousarray(both[:, :, :-1]), np.ascontiguousarray(both[:, :, -1]))

    def _joined(self, i: int) -> NDArray[np.uint8]:
        """Image and mask as one array, `[H, W, C + 1]`."""
        picture, mask = self.pairs.read(i, self.preprocess.bands)
        return np.dstack([pixels_of(picture), mask])


@dataclass(frozen=True)
class ValidationPairs:
    """Reads a pair as it is: uint8 `[C, H, W]` and `[H, W]`."""

    pairs: PairIndex
    preprocess: Preprocessing
    num_classes: int

    def __call__(self, i: int) -> tuple[Tensor, Tensor]:
        """Raises an ImageError if a file is bad or they do not fit, or if the image is too large to be judged by."""
        picture, mask = self.pairs.read(i, self.preprocess.bands)
        height, width = mask.shape
        check_val_size(height, width, self.preprocess, self.num_classes, self.pairs.name(i))
        return torch.from_numpy(pixels_of(picture)).permute(2, 0, 1).contiguous(), torch.from_numpy(mask)
