"""Masks with the probability of each pixel's class, as a calibrated bundle gives them. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.calibration import Calibration
from convsmith.bundle.runtime import Infer
from convsmith.bundle.segment import ScoredPart, scored_parts
from convsmith.spec import WholeImage

Plane = NDArray[np.float32]

SCORED = np.dtype([("class", np.uint8), ("score", np.float16)])
"""A pixel: its class, and the probability of that."""

_LEAST = np.finfo(np.float32).tiny  # whose logarithm is finite


def segment_scored(
    image: NDArray[np.uint8],
    spec: WholeImage,
    run: Infer,
    num_classes: int,
    calibration: Calibration,
    *,
    name: str = "image",
) -> NDArray[Any]:
    """The class of each pixel with its probability, `SCORED` [H, W], otherwise as `segment` gives it.

    Temperature scaling changes no class.

    Raises:
        ImageTooLarge, NoAnswer, ConvsmithError: as `segment`.
    """
    found = np.empty(image.shape[:2], SCORED)
    for part in scored_parts(image, spec, run, num_classes, name=name):
        winner, score = _most_probable(*_scaled(part, calibration))
        found["class"][part.rows, part.columns], found["score"][part.rows, part.columns] = winner, score
    return found


def mask_of(said: NDArray[Any]) -> NDArray[np.uint8]:
    """The classes [H, W] of pixels with their probabilities, or of a mask."""
    return said if said.dtype.names is None else np.ascontiguousarray(said["class"])


def scores_of(said: NDArray[Any]) -> NDArray[np.float16] | None:
    """The probabilities [H, W] of pixels that have them."""
    return None if said.dtype.names is None else np.ascontiguousarray(said["score"])


def as_logits(plane: Plane, part: ScoredPart) -> Plane:
    """The logits of a plane of a part: itself, or the logarithm of sums of exp(logits)."""
    logits: Plane = plane if part.are_logits else np.log(np.maximum(plane, _LEAST))
    return logits


_Ratio = Callable[[Plane, Plane], Plane]
"""How probable one class is beside another, of the scores of both."""


def _scaled(part: ScoredPart, calibration: Calibration) -> tuple[Iterator[Plane], _Ratio]:
    """Planes that classes are chosen by; one number for all of them leaves them as they are, and so the choice."""
    weights, bias = np.asarray(calibration.weights, np.float32), calibration.bias
    if len(weights) == 1 and bias is None:
        factor = weights[0]
        if part.are_logits:
            return part.planes, lambda one, other: np.exp(factor * (one - other))
        return part.planes, lambda one, other: (np.maximum(one, _LEAST) / np.maximum(other, _LEAST)) ** factor
    planes = (
        as_logits(plane, part) * weight + summand
        for plane, weight, summand in zip(part.planes, weights, np.asarray(bias, np.float32), strict=True)
    )
    return planes, lambda one, other: np.exp(one - other)


def _most_probable(planes: Iterator[Plane], ratio: _Ratio) -> tuple[NDArray[np.uint8], Plane]:
    """The class with the largest score, [H, W], of equal ones the lower class, and its probability."""
    best = next(planes).copy()
    winner: NDArray[np.uint8] = np.zeros(best.shape, np.uint8)
    total: Plane = np.ones(best.shape, np.float32)
    for class_id, plane in enumerate(planes, start=1):
        np.copyto(winner, np.uint8(class_id), where=plane > best)
        higher = np.maximum(best, plane)
        total *= ratio(best, higher)
        total += ratio(plane, higher)
        best = higher
    return winner, np.reciprocal(total, out=total)
