"""Heat, which says how much each place of an image counts, and its colours over the image."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

# Every sixteenth colour of matplotlib's `inferno`, whose lightness rises evenly; those between lie on a line.
_INFERNO = (
    "000004 0c0826 240c4f 420a68 5d126e 781c6d 932667 ae305c c73e4c dd513a ed6925 f8850f fca50a fac62d f2e661 fcffa4"
)
_ALPHA = 0.55  # of the colours over the image


def scaled(heat: NDArray[np.floating]) -> NDArray[np.float32]:
    """Heat from 0 to 1; 0 where it is the same everywhere."""
    heat = heat - heat.min()
    return (heat / max(float(heat.max()), 1e-12)).astype(np.float32)


@cache
def colours() -> NDArray[np.uint8]:
    """The colour of each of 256 steps from cold to hot, uint8 [256, 3]."""
    anchors = np.array([list(bytes.fromhex(it)) for it in _INFERNO.split()], float)
    places, at = np.linspace(0, 255, len(anchors)), np.arange(256)
    table = np.stack([np.interp(at, places, channel) for channel in anchors.T], axis=1)
    rounded: NDArray[np.uint8] = np.rint(table).astype(np.uint8)
    return rounded


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The colours of heat [H, W] in 0 to 1 over RGB pixels [H, W, 3], of the same shape."""
    steps = np.rint(np.clip(heat, 0, 1) * 255).astype(np.uint8)
    shown = (1 - _ALPHA) * image + _ALPHA * colours()[steps]
    return np.rint(shown).astype(np.uint8)
