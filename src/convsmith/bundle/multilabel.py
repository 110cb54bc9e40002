"""The answer of a model of several labels to one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.calibration import Calibration, in_set
from convsmith.bundle.classification import Label
from convsmith.bundle.distance import Distance, to_json
from convsmith.bundle.figures.ranking import highest_classes
from convsmith.bundle.images.image_error import NoAnswer
from convsmith.errors import ConvsmithError

HALF = 0.5
"""The threshold of each class where none is known."""


class Multilabel:
    """The classes of one image: each by itself is there or not.

    Args:
        logits: [K], finite.
        names: K names.
        thresholds: the probability of each class from which on it is there, [K]; None: one half for all.
        name: what an error calls the image.
        calibration: by what thresholds sets are made, where logits and `thresholds` are scaled already; None: not.

    Raises:
        NoAnswer: a logit is infinite or not a number.

    Examples:
        >>> answer = cs.load("runs/labels").predict("purple.png")
        >>> [it.label for it in answer.labels]
        ['red', 'blue']
    """

    def __init__(
        self,
        logits: NDArray[np.float32],
        names: tuple[str, ...],
        thresholds: Sequence[float] | None = None,
        name: str = "image",
        calibration: Calibration | None = None,
    ) -> None:
        if not np.isfinite(logits).all():
            raise NoAnswer.of_logits(name)
        self.logits = logits.copy()  # one of a batch would keep all of it in memory
        """The logits, `[K]`: scaled where the bundle is calibrated, else as the model gave them."""
        self.probabilities = probabilities_of(logits)
        """Sigmoid of each logit, `[K]`."""
        self.thresholds = thresholds_of(thresholds, len(names))
        """The probability of each class from which on it is there, `[K]`."""
        self._names, self._calibration = names, calibration
        self.meta: Mapping[str, str] = {}
        """The `runtime`, `device` and `provider` that ran; empty where no bundle did."""
        self.distance: Distance | None = None
        """How far the image is from the training images, where the bundle knows it."""

    @property
    def class_ids(self) -> list[int]:
        """The classes that are there, the most probable first."""
        there = self.probabilities >= self.thresholds
        return [i for i in self._ranked(len(self._names)) if there[i]]

    @property
    def labels(self) -> list[Label]:
        """The classes that are there, the most probable first; may be empty."""
        return [self._label(i) for i in self.class_ids]

    @property
    def set(self) -> list[Label] | None:
        """The classes that may be there: each that is there is among them with the bundle's `coverage`.

        The most probable first; None where the bundle has no sets.
        """
        if self._calibration is None or self._calibration.sets is None:
            return None
        may_be = in_set(self.probabilities, self._calibration.sets.thresholds)
        return [self._label(i) for i in self._ranked(len(self._names)) if may_be[i]]

    def top(self, k: int) -> list[Label]:
        """The `k` most probable classes, there or not, or all where there are fewer; the most probable first."""
        if k < 1:
            raise ConvsmithError(f"cannot list the top {k} classes", "at least one must be asked for")
        return [self._label(i) for i in self._ranked(k)]

    def to_dict(self, top: int = 5) -> dict[str, Any]:
        """`{"labels": [...], "top": [...], "meta"}`, the first two of `{"class_id", "label", "score"}`, for JSON.

        With `"set"`, such a list too, where the bundle has them.
        """
        lists = {"labels": self.labels, "top": self.top(top), "set": self.set}
        said = {name: [vars(it) for it in labels] for name, labels in lists.items() if labels is not None}
        return {**said, **to_json(self.distance), **({"meta": dict(self.meta)} if self.meta else {})}

    def _ranked(self, k: int) -> list[int]:
        return [int(i) for i in highest_classes(self.logits[None], k)[0]]

    def _label(self, i: int) -> Label:
        return Label(i, self._names[i], float(self.probabilities[i]))

    def __repr__(self) -> str:
        return f"Multilabel({', '.join(f'{it.label!r}: {it.score:.4f}' for it in self.labels)})"


def probabilities_of(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The sigmoid of logits of any shape; predict, serve and evaluate decide by this one."""
    x = logits.astype(np.float64)
    small = np.exp(-np.abs(x))  # never overflows
    probabilities: NDArray[np.float64] = np.where(x < 0, small, 1.0) / (1.0 + small)
    return probabilities


def log_sigmoid(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The logarithms of `probabilities_of` logits of any shape."""
    found: NDArray[np.float64] = -np.logaddexp(0, -logits.astype(np.float64))
    return found


def scaled_thresholds(given: Sequence[float] | None, num_classes: int, calibration: Calibration) -> list[float]:
    """Thresholds of the probabilities of scaled logits that decide what those of logits as they are do."""
    before = thresholds_of(given, num_classes)
    with np.errstate(divide="ignore"):  # 0 and 1 stay what they are
        logits = np.log(before) - np.log1p(-before)
    return [float(it) for it in probabilities_of(calibration.scaled(logits))]


def thresholds_of(given: Sequence[float] | None, num_classes: int) -> NDArray[np.float64]:
    """The threshold of each class, float64 [K]."""
    return np.full(num_classes, HALF) if given is None else np.asarray(given, np.float64)
