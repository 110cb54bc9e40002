"""Thresholds of sets that hold what is true with a stated probability: split conformal prediction. Needs no torch.

A class is in a set where its probability reaches a threshold (least ambiguous sets, LAC: Sadinle et al. 2019,
arXiv:1609.00451). Among all rules of the same coverage these sets are the smallest on average, need no random numbers,
and are read off the probabilities that an answer has anyway. The threshold is a probability that n images gave a class
that is true, the floor((n + 1) (1 - coverage))-th smallest; these images had no part in the training. Then the set of
another image of the kind holds the true class with a probability of `coverage` at least (Vovk et al. 2005; Angelopoulos
and Bates 2023, arXiv:2107.07511). Thresholds by class give each class that coverage (Mondrian).
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.calibration import Sets

_OWN = 2  # images below a class's own threshold: that of one alone would be decided by a single strange image


def fewest_images(coverage: float) -> int:
    """The fewest images that have a threshold of that coverage: 1 / (1 - coverage) - 1."""
    return math.ceil(1 / _left_out(coverage)) - 1


def fit_sets(probabilities: NDArray[np.float64], truth: NDArray[np.bool_], coverage: float) -> Sets:
    """The thresholds of sets that hold a share `coverage` of what is true.

    A class has an own threshold where its images suffice. The others share one, of their images together; where these
    are too few, all classes share one. A class without images has the threshold that all images together would have:
    nothing is known of it.

    Args:
        probabilities: [N, K].
        truth: which classes are true, [N, K]; one of each image, or several.
        coverage: between 0 and 1; N must be `fewest_images` at least.
    """
    images = truth.sum(axis=0)
    own = np.array([_place(int(count), coverage) >= _OWN for count in images])
    rest = ~own & (images > 0)
    together = int(truth[:, rest].any(axis=1).sum())
    if rest.any() and not _place(together, coverage):
        own[:], rest[:] = False, images > 0
    thresholds = np.full(len(own), _threshold(probabilities, truth, coverage))
    for k in np.flatnonzero(own):
        thresholds[k] = _threshold(probabilities[:, [k]], truth[:, [k]], coverage)
    if rest.any():
        thresholds[rest] = _threshold(probabilities[:, rest], truth[:, rest], coverage)
    shared = np.flatnonzero(~own)
    return Sets(coverage=coverage, thresholds=tuple(thresholds.tolist()), shared=tuple(shared.tolist()))


def _threshold(probabilities: NDArray[np.float64], truth: NDArray[np.bool_], coverage: float) -> float:
    """The threshold for the images that have one of these classes: of each the least probable class that is true."""
    least = np.where(truth, probabilities, np.inf).min(axis=1)[truth.any(axis=1)]
    place = _place(len(least), coverage)
    return float(np.partition(least, place - 1)[place - 1])


def _place(images: int, coverage: float) -> int:
    """The place of the threshold among so many images, the smallest at 1; 0: there is none."""
    return math.floor((images + 1) * _left_out(coverage))


def _left_out(coverage: float) -> Fraction:
    """1 - coverage, as it was written: 0.9 of 9 images must not come to less than 1 by rounding."""
    return 1 - Fraction(repr(coverage))
