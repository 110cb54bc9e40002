"""How far an image is from those that a bundle was trained on. Needs no torch.

It is 1 less the cosine between its embedding and the k-th nearest of some training images (Sun et al. 2022,
arXiv:2204.06507): it takes no classes, and assumes nothing of how embeddings are spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from convsmith.spec import Count, Section

DISTANCE = "distance.bin"
_HALF = np.dtype("<f2")


class DistanceFacts(Section):
    """The part of a manifest that is about distances."""

    images: Count = Field(description="How many training images' embeddings the file holds.")
    neighbours: Count = Field(description="k: the distance is that to the k-th nearest of them.")
    quantiles: Annotated[tuple[Annotated[float, Field(ge=0, le=2)], ...], Field(min_length=2, max_length=10_001)] = (
        Field(description="Distances of images that were held out, from the smallest to the largest, in even steps.")
    )
    held_out: Count = Field(description="How many images gave the quantiles.")


@dataclass(frozen=True)
class Distance:
    """How far one image is from the training images.

    Attributes:
        value: 0 to 2; 0 of an image that looks to the model as k training images do.
        percentile: share of the images that were held out which are nearer, 0 to 100.
    """

    value: float
    percentile: float


class Distances:
    """Distances of embeddings.

    Args:
        known: embeddings of training images, [M, D], each of length 1.
        neighbours: see `DistanceFacts`.
        quantiles: likewise.
    """

    def __init__(self, known: NDArray[Any], neighbours: int, quantiles: tuple[float, ...] = (0.0, 2.0)) -> None:
        self._known, self._neighbours, self._quantiles = known.astype(np.float32), neighbours, quantiles

    def values(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """The distances [N] of embeddings [N, D]."""
        place = len(self._known) - min(self._neighbours, len(self._known))
        cosines = [np.partition(self._known @ row, place)[place] for row in unit(rows)]
        return np.clip(1 - np.array(cosines, np.float64), 0, 2)

    def of(self, row: NDArray[np.float32]) -> Distance:
        """The distance of one embedding [D]."""
        value = float(self.values(row[None])[0])
        share = np.interp(value, self._quantiles, np.linspace(0, 100, len(self._quantiles)))
        return Distance(value, float(share))


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Each row [N, D] with the length 1; a row of zeros stays."""
    floats = rows.astype(np.float32)
    lengths: NDArray[np.float32] = np.linalg.norm(floats, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    shortened: NDArray[np.float32] = floats / lengths
    return shortened


def file_of(known: NDArray[np.float32]) -> bytes:
    """The content of `distance.bin`."""
    return known.astype(_HALF).tobytes()


def file_size(images: int, length: int) -> int:
    """Bytes of the file of so many embeddings of that length."""
    return _HALF.itemsize * images * length


def read_distances(facts: DistanceFacts | None, length: int | None, files: Mapping[str, bytes]) -> Distances | None:
    """The distances of a bundle's verified files, whose manifest has checked the size; None where it has none."""
    if facts is None or length is None:
        return None
    known = np.frombuffer(files[DISTANCE], _HALF).reshape(facts.images, length)
    return Distances(known, facts.neighbours, facts.quantiles)


def to_json(distance: Distance | None) -> dict[str, Any]:
    """The key `distance` of an answer, or nothing."""
    return {} if distance is None else {"distance": vars(distance)}
