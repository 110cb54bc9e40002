"""Measuring what later images of a bundle are held against."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.reference import FEWEST, Reference, brightness, histogram
from convsmith.bundle.write import Card, rewrite_manifest

MOST = 500
_PIXELS = 30_000_000  # that the model looks at: 500 images of 224, 100 of 512


def add_reference(directory: Path, read: Callable[[int], NDArray[np.uint8]], count: int) -> None:
    """Let a bundle's manifest say how validation images look, and what its model says of them.

    Args:
        directory: the bundle's folder.
        read: gives a validation image as `Bundle.preprocess` does, or raises an ImageError.
        count: how many there are; of fewer than `FEWEST` nothing is said.
    """
    if count < FEWEST:
        return
    bundle: Bundle = load(directory, device="cpu")
    reference = measure_reference(bundle, read, count)
    rewrite_manifest(directory, replace(Card.of(bundle.manifest), reference=reference), bundle.manifest.files)


def measure_reference(bundle: Bundle, read: Callable[[int], NDArray[np.uint8]], count: int) -> Reference:
    """The reference by up to `MOST` of `count` images, evenly of all; the model sees fewer of large ones."""
    looked = min(MOST, count)
    lights, sure, classes, pixels, answers = [], [], np.zeros(len(bundle.labels)), 0, 0
    for number in _spread(looked):
        with suppress(ImageError):
            image = read(number * count // looked)
            lights.append(brightness(image))
            pixels += image[0].size
            if pixels > _PIXELS:
                continue
            answer = bundle.predict_preprocessed(image)
            answers += 1
            classes += bundle.task.shares(answer)
            if (certainty := bundle.task.certainty(answer)) is not None:
                sure.append(certainty)
    return Reference(
        images=max(1, len(lights)),
        classes=tuple(map(float, classes)) if answers >= FEWEST else None,
        confidence=histogram(sure),
        brightness=histogram(lights),
    )


def _spread(count: int) -> list[int]:
    """The numbers from 0 on in an order of which each beginning is spread over all."""
    return sorted(range(count), key=lambda number: int(f"{number:032b}"[::-1], 2))
