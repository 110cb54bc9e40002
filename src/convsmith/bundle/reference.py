"""How the images that a bundle was validated on look, and what it says of them: what later images are held against.

Needs no torch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from convsmith.bundle.distance import DistanceFacts
from convsmith.spec import Count, NonNegative, Section

MOST_BINS = 20
FEWEST = 50
"""Images without which nothing is said of a kind of number."""

_BINS = 10
_IMAGES_OF_A_BIN = 20  # fewer, and chance alone would move the index
_SIDE = 32  # rows and columns, or up to twice as many, that the brightness is taken of


class Histogram(Section):
    """How often numbers lie where."""

    edges: Annotated[tuple[float, ...], Field(max_length=MOST_BINS - 1)] = Field(
        description="Where one bin ends and the next begins, in order; the first and the last bin have no end."
    )
    counts: Annotated[tuple[NonNegative, ...], Field(min_length=1, max_length=MOST_BINS)]

    @model_validator(mode="after")
    def _fit(self) -> Histogram:
        if len(self.counts) != len(self.edges) + 1 or list(self.edges) != sorted(set(self.edges)):
            raise ValueError("there is one bin more than edges, which rise")
        return self

    def bin_of(self, value: float) -> int:
        """The bin of a number; one on an edge is in the bin above."""
        return bisect_right(self.edges, value)


class Reference(Section):
    """The part of a manifest that later images are held against."""

    images: Count = Field(description="How many validation images were looked at.")
    classes: tuple[NonNegative, ...] | None = Field(
        None, description="How many of them had each class as the answer, [K]; of masks the sum of their shares."
    )
    confidence: Histogram | None = Field(None, description="How sure the answers were.")
    brightness: Histogram | None = Field(None, description="Mean of all pixels, 0 to 1.")

    def with_confidence(self, values: Sequence[float] | NDArray[Any]) -> Reference:
        """The same of a bundle whose probabilities have changed; of too few it says nothing."""
        return self.model_copy(update={"confidence": histogram(values)})


class Seen:
    """Gathers how images look and how sure a model's answers are while it is judged, for a `Reference` of them."""

    def __init__(self) -> None:
        self._lights: list[float] = []
        self._sure: list[float] = []

    def add(self, images: Iterable[NDArray[np.uint8]], certainty: Iterable[float] = ()) -> None:
        """Take in preprocessed images [C, H, W], and how sure the answer to each is, where that is known."""
        self._lights += map(brightness, images)
        self._sure += map(float, certainty)

    def merge(self, other: Seen) -> None:
        """Add what another one gathered."""
        self._lights += other._lights
        self._sure += other._sure

    def keys(self, classes: NDArray[Any]) -> dict[str, Any]:
        """`reference`, the reference of all images as JSON values; of fewer than `FEWEST` nothing.

        Args:
            classes: how many images had each class as the answer, [K].
        """
        if len(self._lights) < FEWEST:
            return {}
        reference = Reference(
            images=len(self._lights),
            classes=tuple(map(float, classes)),
            confidence=histogram(self._sure),
            brightness=histogram(self._lights),
        )
        return {"reference": reference.model_dump(mode="json")}


def brightness(image: NDArray[np.uint8]) -> float:
    """The mean of a preprocessed image [C, H, W], 0 to 1; of a large one that of evenly spread rows and columns."""
    rows, columns = (max(1, side // _SIDE) for side in image.shape[1:])
    return float(image[:, ::rows, ::columns].mean()) / 255


def histogram(values: Sequence[float] | NDArray[Any]) -> Histogram | None:
    """Up to ten bins that hold as many of the numbers each; None where these are too few."""
    if len(values) < FEWEST:
        return None
    bins = min(_BINS, len(values) // _IMAGES_OF_A_BIN)
    edges = np.unique(np.quantile(np.asarray(values, np.float64), np.linspace(0, 1, bins + 1)[1:-1]))
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return Histogram(edges=tuple(map(float, edges)), counts=tuple(map(float, counts)))


def distance_histogram(facts: DistanceFacts) -> Histogram | None:
    """Ten bins of the distances of held-out images; None where these are too few."""
    if facts.held_out < FEWEST:
        return None
    bins = min(_BINS, facts.held_out // _IMAGES_OF_A_BIN)
    shares = np.linspace(0, 1, bins + 1)[:-1]
    places = np.interp(shares, np.linspace(0, 1, len(facts.quantiles)), facts.quantiles)
    edges, first = np.unique(places[1:], return_index=True)
    below = [0.0, *shares[1:][first], 1.0]
    return Histogram(edges=tuple(map(float, edges)), counts=tuple(float(it) for it in np.diff(below) * facts.held_out))


def class_groups(counts: Sequence[float]) -> NDArray[np.int64]:
    """The bin of each class, [K]: one each where images suffice, else classes in the order of their counts in turn."""
    most = int(min(MOST_BINS, max(2, sum(counts) // _IMAGES_OF_A_BIN)))
    if len(counts) <= most:
        return np.arange(len(counts))
    groups = np.empty(len(counts), np.int64)
    groups[np.argsort(-np.asarray(counts), kind="stable")] = np.arange(len(counts)) % most
    return groups


def stability_index(expected: Sequence[float], actual: Sequence[float]) -> float:
    """The population stability index of two histograms of the same bins: the sum of (a - e) ln(a / e) over shares.

    Half an image is added to each bin, and bins that are empty in both count for nothing.
    """
    counts = np.array([expected, actual], np.float64)
    counts = counts[:, counts.any(axis=0)] + 0.5
    e, a = counts / counts.sum(axis=1, keepdims=True)
    return float(((a - e) * np.log(a / e)).sum())


def kinds_of(reference: Reference | None, distance: DistanceFacts | None) -> Iterator[tuple[str, Histogram]]:
    """The kinds of numbers of an image that there is a histogram of, by name."""
    known = {} if reference is None else {"confidence": reference.confidence, "brightness": reference.brightness}
    for name, found in {**known, "distance": None if distance is None else distance_histogram(distance)}.items():
        if found is not None:
            yield name, found
