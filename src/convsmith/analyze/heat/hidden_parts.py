"""Occlusion and RISE: what an answer loses when parts of the image are hidden. Needs no more than the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.bilinear import Bilinear
from convsmith.bundle.heat import scaled
from convsmith.randomness import Stream, counter_generator

Score = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Log-probability [N] of a class on images [N, C, H, W]."""

MASKS = 1024
_BATCH_PIXELS = 16 * 224 * 224
_CELLS, _KEPT = 7, 0.5  # of a mask of RISE: along a side, and the share that is shown
_PATCHES, _STEPS = 5, 15  # of occlusion: a patch has that part of a side, and moves by that one


def occlusion(score: Score, image: NDArray[np.uint8], fill: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much the class loses when a patch hides a place, float32 [H, W] in 0 to 1.

    A place has the mean of all patches over it. Zeiler and Fergus 2014 (arXiv:1311.2901), with log-probabilities, so
    that an answer of which the model is very sure has a map as well.

    Args:
        score: of the class.
        image: [C, H, W].
        fill: [C], what is shown where the image is hidden.
    """
    height, width = image.shape[1:]
    patches = [(row, column) for row in _spans(height) for column in _spans(width)]
    (whole,) = score(image[None])
    lost, covered = np.zeros((height, width)), np.zeros((height, width))
    for batch in _batches(len(patches), (height, width)):
        hidden = np.repeat(image[None], len(batch), axis=0)
        for changed, number in zip(hidden, batch, strict=True):
            changed[:, *patches[number]] = fill[:, None, None]
        for value, number in zip(score(hidden), batch, strict=True):
            lost[patches[number]] += whole - value
            covered[patches[number]] += 1
    return scaled(np.maximum(lost / covered, 0))


def rise(
    score: Score, image: NDArray[np.uint8], fill: NDArray[np.uint8], masks: int = MASKS, seed: int = 0
) -> NDArray[np.float32]:
    """The mean probability of the class over random masks that show a place, float32 [H, W] in 0 to 1.

    Petsiuk et al. 2018 (arXiv:1806.07421). Mask i depends on nothing but the seed and i.

    Args:
        score, image, fill: as in `occlusion`.
        masks: how many.
        seed: chooses them.
    """
    height, width = image.shape[1:]
    base = fill.astype(np.float32)[:, None, None]
    heat, total = np.zeros((height, width)), np.zeros((height, width))
    for batch in _batches(masks, (height, width)):
        shown = [_mask(seed, number, (height, width)) for number in batch]
        masked = np.stack([np.rint(base + (image - base) * mask).astype(np.uint8) for mask in shown])
        for mask, value in zip(shown, score(masked), strict=True):
            heat += np.exp(value) * mask
            total += mask
    return scaled(heat / np.maximum(total, 1e-9))


def _batches(count: int, size: tuple[int, int]) -> Iterator[range]:
    """Numbers from 0, as many at a time as have room: the answer to a large image is large."""
    step = max(1, _BATCH_PIXELS // (size[0] * size[1]))
    return (range(first, min(first + step, count)) for first in range(0, count, step))


def _spans(side: int) -> list[slice]:
    patch, step = max(1, side // _PATCHES), max(1, side // _STEPS)
    starts = [*range(0, side - patch, step), side - patch]
    return [slice(start, start + patch) for start in starts]


def _mask(seed: int, number: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """A grid of cells, each shown or hidden, enlarged smoothly and moved by less than a cell: [H, W] in 0 to 1."""
    random = counter_generator(Stream.RISE, seed, number)
    grid = (random.random_sample((1, _CELLS + 1, _CELLS + 1)) < _KEPT).astype(np.float32)
    cell = [ceil(side / _CELLS) for side in size]
    large = ((_CELLS + 1) * cell[0], (_CELLS + 1) * cell[1])
    smooth = Bilinear((_CELLS + 1, _CELLS + 1), large).rows(grid, slice(0, large[0]))[0]
    top, left = (random.randint(0, it) for it in cell)
    return np.ascontiguousarray(smooth[top : top + size[0], left : left + size[1]])
