"""The answer of a classifier to one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.figures.ranking import highest_classes
from convsmith.bundle.images.image_error import NoAnswer
from convsmith.errors import ConvsmithError


@dataclass(frozen=True)
class Label:
    """One class and its probability."""

    class_id: int
    label: str
    score: float


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities [K] of the classes of an image with the logits [K]; they sum to 1."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    probabilities: NDArray[np.float64] = powers / powers.sum()
    return probabilities


class Classification:
    """The classes of one image, by probability.

    Args:
        logits: [K], finite.
        labels: K names.
        name: what an error calls the image.

    Raises:
        NoAnswer: a logit is infinite or not a number.
    """

    def __init__(self, logits: NDArray[np.float32], labels: tuple[str, ...], name: str = "image") -> None:
        if not np.isfinite(logits).all():
            raise NoAnswer.of_logits(name)
        self.logits = logits.copy()  # one of a batch would keep all of it in memory
        """The logits as the model gave them, [K]."""
        self.probabilities = softmax(logits)
        """Softmax of the logits, [K]; they sum to 1."""
        self._labels = labels
        self.meta: Mapping[str, str] = {}
        """The `runtime`, `device` and `provider` that ran; empty where no bundle did."""

    @property
    def class_id(self) -> int:
        """Index of the most probable class."""
        return int(self.logits.argmax())

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self._labels[self.class_id]

    @property
    def score(self) -> float:
        """Probability of the most probable class, 0 to 1."""
        return float(self.probabilities[self.class_id])

    def top(self, k: int) -> list[Label]:
        """The `k` most probable classes, or all where there are fewer; the most probable first."""
        if k < 1:
            raise ConvsmithError(f"cannot list the top {k} classes", "at least one must be asked for")
        highest = highest_classes(self.logits[None], k)[0]
        return [Label(int(i), self._labels[i], float(self.probabilities[i])) for i in highest]

    def to_dict(self, top: int = 5) -> dict[str, Any]:
        """`{"class_id", "label", "score", "top": [{"class_id", "label", "score"}, ...], "meta"}`, ready for JSON."""
        ranked = [vars(label) for label in self.top(top)]
        return {**ranked[0], "top": ranked, **({"meta": dict(self.meta)} if self.meta else {})}

    def __repr__(self) -> str:
        return f"Classification({self.label!r}, class_id={self.class_id}, score={self.score:.4f})"
