"""The answer of a classifier to one image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.calibration import Calibration, in_set
from convsmith.bundle.distance import Distance, to_json
from convsmith.bundle.figures.ranking import highest_classes
from convsmith.bundle.images.image_error import NoAnswer
from convsmith.errors import ConvsmithError


@dataclass(frozen=True)
class Label:
    """One class and its probability."""

    class_id: int
    label: str
    score: float


_SHOWN = 5  # classes of a set, in words


def set_in_words(labels: Sequence[Label]) -> str:
    """The classes of a set for a line of print, the first of them."""
    more = len(labels) - _SHOWN
    return f"{{{', '.join([it.label for it in labels[:_SHOWN]] + ([f'{more} more'] if more > 0 else []))}}}"


def labels_as_json(labels: Sequence[Label] | None) -> list[str]:
    """The classes of a set as the text of one cell; nothing where there are no sets."""
    return [] if labels is None else [json.dumps([it.label for it in labels])]


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities [..., K] of classes that exclude each other, with the logits [..., K]; they sum to 1."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def log_softmax(logits: NDArray[np.floating[Any]], axis: int = -1) -> NDArray[np.float64]:
    """The logarithms of the probabilities of classes that exclude each other, of the shape of the logits."""
    shifted = logits.astype(np.float64) - logits.max(axis=axis, keepdims=True)
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return found


class Classification:
    """The classes of one image, by probability.

    Args:
        logits: [K], finite.
        labels: K names.
        name: what an error calls the image.
        calibration: what is decided by the probabilities, whose logits are scaled already; None: nothing.

    Raises:
        NoAnswer: a logit is infinite or not a number.

    Examples:
        >>> answer = cs.load("runs/photos").predict("photos/val/red/0.png")
        >>> answer.label, answer.class_id
        ('red', 0)
        >>> [it.label for it in answer.top(2)]
        ['red', 'blue']
    """

    def __init__(
        self,
        logits: NDArray[np.floating[Any]],
        labels: tuple[str, ...],
        name: str = "image",
        calibration: Calibration | None = None,
    ) -> None:
        if not np.isfinite(logits).all():
            raise NoAnswer.of_logits(name)
        self.logits = logits.copy()  # one of a batch would keep all of it in memory
        """The logits, `[K]`: scaled where the bundle is calibrated, else as the model gave them."""
        self.probabilities = softmax(logits)
        """Softmax of the logits, `[K]`; they sum to 1."""
        self._labels, self._calibration = labels, calibration
        self.meta: Mapping[str, str] = {}
        """The `runtime`, `device` and `provider` that ran; empty where no bundle did."""
        self.distance: Distance | None = None
        """How far the image is from the training images, where the bundle knows it."""

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

    @property
    def set(self) -> list[Label] | None:
        """The classes among which the true one is, with the bundle's `coverage`; the most probable first.

        It may be empty, of an image that resembles none of those that the bundle was calibrated with. None where the
        bundle has no sets.
        """
        if self._calibration is None or self._calibration.sets is None:
            return None
        there = in_set(self.probabilities, self._calibration.sets.thresholds)
        return [self._label(i) for i in highest_classes(self.logits[None], len(there))[0] if there[i]]

    @property
    def unknown(self) -> bool | None:
        """Whether the bundle rather says nothing of this image; None where it always says a class."""
        if self._calibration is None or self._calibration.unknown is None:
            return None
        return self.score < self._calibration.unknown.threshold

    def top(self, k: int) -> list[Label]:
        """The `k` most probable classes, or all where there are fewer; the most probable first."""
        if k < 1:
            raise ConvsmithError(f"cannot list the top {k} classes", "at least one must be asked for")
        return [self._label(i) for i in highest_classes(self.logits[None], k)[0]]

    def to_dict(self, top: int = 5) -> dict[str, Any]:
        """`{"class_id", "label", "score", "top": [{"class_id", "label", "score"}, ...], "meta"}`, ready for JSON.

        With `"set"`, such a list too, and `"unknown"` where the bundle has them.
        """
        ranked = [vars(label) for label in self.top(top)]
        chosen = self.set
        decided = {"set": None if chosen is None else [vars(it) for it in chosen], "unknown": self.unknown}
        return {
            **ranked[0],
            "top": ranked,
            **{name: value for name, value in decided.items() if value is not None},
            **to_json(self.distance),
            **({"meta": dict(self.meta)} if self.meta else {}),
        }

    def _label(self, i: int) -> Label:
        return Label(int(i), self._labels[i], float(self.probabilities[i]))

    def __repr__(self) -> str:
        return f"Classification({self.label!r}, class_id={self.class_id}, score={self.score:.4f})"
