"""Images that are far from all others of their class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NEIGHBOURS, _COMPARED = 5, 2048  # images that are near, and of a class at most, those that each is compared with
_AT_ONCE = 1024
_FAR = 4.0  # times the usual deviation, above the median, of the logarithm of the distance
_USUAL = 1.4826  # median deviation to standard deviation, where it is normal


def distances_to_class(features: NDArray[np.generic], classes: NDArray[np.int64]) -> NDArray[np.float32]:
    """The mean distance of each image to the five of its class that are nearest, float32 `[N]`; nan in small classes.

    In classes of more than 2,048 images each is compared with so many of them, evenly spread, so that time grows with
    the number of images.

    Args:
        features: numbers that describe each image, `[N, D]`.
        classes: the class of each, int64 `[N]`.
    """
    found = np.full(len(features), np.nan, np.float32)
    order = np.argsort(classes, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(classes[order])) + 1):
        if len(members) <= 2 * _NEIGHBOURS:
            continue
        chosen = members[np.linspace(0, len(members) - 1, min(len(members), _COMPARED)).round().astype(int)]
        others = features[chosen].astype(np.float32)
        squares = (others**2).sum(axis=1)
        for first in range(0, len(members), _AT_ONCE):
            part = members[first : first + _AT_ONCE]
            own = features[part].astype(np.float32)
            apart = np.maximum((own**2).sum(axis=1)[:, None] + squares - 2 * own @ others.T, 0)
            apart[part[:, None] == chosen] = np.inf  # not with itself
            nearest = np.partition(apart, _NEIGHBOURS - 1, axis=1)[:, :_NEIGHBOURS]
            found[part] = np.sqrt(nearest).mean(axis=1)
    return found


def find_outliers(distances: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The images that are far from their class beside the others of it, the farthest first, int64 `[M]`."""
    deviation = np.zeros(len(distances))
    logarithms = np.log(np.maximum(distances, 1e-6))
    order = np.argsort(classes, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(classes[order])) + 1):
        known = members[np.isfinite(logarithms[members])]
        if len(known):
            middle = np.median(logarithms[known])
            usual = _USUAL * np.median(np.abs(logarithms[known] - middle))
            deviation[known] = (logarithms[known] - middle) / max(float(usual), 1e-6)
    far = np.flatnonzero(deviation > _FAR)
    return far[np.argsort(-deviation[far], kind="stable")]
