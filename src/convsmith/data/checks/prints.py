"""A print of an image: a few bytes that nearly the same images have nearly in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.images.decode import Picture, as_pillow

PRINT = np.dtype([("hash", np.uint64), ("colours", np.uint8, (48,))])
"""The perceptual hash, 0 where there is none, and the mean colours of a grid of 4 x 4 cells, row by row."""

_SIDE, _LOW, _GRID = 32, 8, 4  # pixels that are transformed, frequencies that count, cells of the grid
_WAVES = 2 * np.cos(np.pi * np.arange(_LOW)[:, None] * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE))


def perceptual_hash(picture: Picture) -> int:
    """The 64 bits of pHash, as the package imagehash computes them: equal to its `phash` bit for bit.

    The image is scaled to 32 x 32 pixels of grey, its cosine transform is cut to the lowest 8 x 8 frequencies, and each
    bit says whether one of them is above their median (Zauner, "Implementation and Benchmarking of Perceptual Image
    Hash Functions", 2010, with the median over all 64 of them).
    """
    grey = as_pillow(picture).convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    waves = _WAVES @ np.asarray(grey, np.float64) @ _WAVES.T
    bits = np.packbits((waves > np.median(waves)).ravel())
    return int.from_bytes(bits.tobytes(), "big")


def print_of(picture: Picture) -> tuple[int, NDArray[np.uint8]]:
    """The hash and the colours of an image, see `PRINT`."""
    cells = as_pillow(picture).resize((_GRID, _GRID), Image.Resampling.BOX, reducing_gap=1.0)
    return perceptual_hash(picture), np.asarray(cells).ravel()
