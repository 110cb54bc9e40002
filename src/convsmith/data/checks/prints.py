"""A print of an image: a few bytes that nearly the same images have nearly in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.images.decode import Picture, as_pillow

PRINT = np.dtype([("hash", np.uint64), ("mirrored", np.uint64), ("colours", np.uint8, (48,))])
"""The perceptual hash, 0 where there is none; that of the image mirrored left to right; and the mean colours of a grid
of 4 x 4 cells, row by row."""

_SIDE, _LOW, _GRID = 32, 8, 4  # pixels that are transformed, frequencies that count, cells of the grid
_GAP = 32.0  # times as many pixels as cells are left by a fast reduction of large images, so that cells are exact
_WAVES = 2 * np.cos(np.pi * np.arange(_LOW)[:, None] * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE))


_TURNED = np.where(np.arange(_LOW) % 2, -1, 1)  # what a mirror makes of the waves that run from left to right


def perceptual_hashes(picture: Picture) -> tuple[int, int]:
    """The 64 bits of pHash, as the package imagehash computes them, of an image and of its mirror image.

    They are equal to its `phash` bit for bit. The image is scaled to 32 x 32 pixels of grey, its cosine transform is
    cut to the lowest 8 x 8 frequencies, and each bit says whether one of them is above their median (Zauner,
    "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, with the median over all 64 of them).
    """
    grey = as_pillow(picture).convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    waves = _WAVES @ np.asarray(grey, np.float64) @ _WAVES.T
    return _above_median(waves), _above_median(waves * _TURNED)


def print_of(picture: Picture) -> tuple[int, int, NDArray[np.uint8]]:
    """The hashes and the colours of an image, see `PRINT`."""
    cells = as_pillow(picture).resize((_GRID, _GRID), Image.Resampling.BOX, reducing_gap=_GAP)
    return *perceptual_hashes(picture), np.asarray(cells).ravel()


def mirror_colours(colours: NDArray[np.generic]) -> NDArray[np.generic]:
    """The colours `[N, 48]` of mirrored images."""
    return colours.reshape(-1, _GRID, _GRID, 3)[:, :, ::-1].reshape(-1, 3 * _GRID**2)


def _above_median(waves: NDArray[np.float64]) -> int:
    return int.from_bytes(np.packbits((waves > np.median(waves)).ravel()).tobytes(), "big")
