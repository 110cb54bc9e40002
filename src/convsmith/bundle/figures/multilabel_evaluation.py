"""Figures of a finished model of several labels, beside those that a training needs. Needs no torch.

Precision, recall, F1 and AUROC are scikit-learn's of 0/1 matrices (`zero_division=0`; `f1_samples` with
`zero_division=1`: no label where there is none is right). `brier` is the mean squared distance of all probabilities
from the truth, and the calibration errors are those of all pairs of image and class, torchmetrics'
`BinaryCalibrationError` over 15 bins, of equal width or with equally many pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.figures.calibration_error import BINS, bins_of
from convsmith.bundle.figures.certainty_intervals import MOST_RANKED, Interval, bootstrap, draws_for, wilson
from convsmith.bundle.figures.multilabel_metrics import MultilabelResults, f1_of
from convsmith.bundle.figures.score_curves import auroc, ranked
from convsmith.bundle.multilabel import probabilities_of

MORE = (
    "precision_macro", "precision_micro", "precision_weighted", "recall_macro", "recall_micro", "recall_weighted",
    "f1_weighted", "f1_samples", "auroc_macro", "auroc_micro", "hamming_loss", "brier", "ece", "adaptive_ece",
)  # fmt: skip
"""Figures beside those of `MultilabelResults`."""


class MultilabelEvaluation(MultilabelResults):
    """Gathers predictions for further figures, and for their intervals."""

    score = "f1_samples"

    def empty(self) -> MultilabelEvaluation:
        """A collection without predictions."""
        return MultilabelEvaluation(self.thresholds)

    def select(self, numbers: NDArray[np.int64]) -> MultilabelEvaluation:
        """A collection of the images of these numbers, each as often as it is named."""
        chosen = self.empty()
        chosen._logits, chosen._targets = [self.logits[numbers]], [self.targets[numbers]]
        return chosen

    def compute(self) -> dict[str, float]:
        """The figures over all images; without any image all are NaN.

        `auroc_macro` is the mean over the classes that some images have and others have not; NaN where there is none.
        """
        found = super().compute()
        if not self._targets:
            return {**found, **dict.fromkeys(MORE, float("nan"))}
        logits, targets = self._all()
        known = [value for value in self._areas() if value is not None]
        every = auroc(logits.ravel(), targets.ravel())
        ranked = {
            "auroc_macro": sum(known) / len(known) if known else float("nan"),
            "auroc_micro": float("nan") if every is None else every,
        }
        return {**self._weigher(rankings=False)(np.ones(len(targets))), **ranked, **found}

    def by_class(self, num_classes: int) -> dict[str, tuple[float | None, ...]]:
        """Those of `MultilabelResults`, and `auroc` of each class [K]; None where all images have it, or none."""
        return {**super().by_class(num_classes), "auroc": tuple(self._areas())}

    def intervals(self) -> dict[str, Interval]:
        """The 95 % intervals: Wilson's of subset accuracy, else by bootstrap over the images."""
        _, targets = self._all()
        share = float((self._said(self.logits) == targets).all(axis=1).mean())
        rankings = targets.size <= MOST_RANKED
        drawn = bootstrap(self._weigher(rankings), len(targets), draws_for(targets.size))
        return {**drawn, "subset_accuracy": wilson(share, len(targets))}

    def weigher(self) -> Callable[[NDArray[np.float64]], dict[str, float]]:
        """All figures, where each image counts so often."""
        return self._weigher(rankings=True)

    def scores(self) -> NDArray[np.float64]:
        """The F1 of the labels of each image, [N]; 1 where it has none, and none is said."""
        logits, targets = self._all()
        said = self._said(logits)
        f1 = f1_of((said & targets).sum(1), said.sum(1), targets.sum(1))
        return np.where(said.any(axis=1) | targets.any(axis=1), f1, 1.0)

    def images_of_classes(self, num_classes: int) -> list[NDArray[np.int64]]:
        """The numbers of the images that have each class."""
        targets = self.targets
        return [np.flatnonzero(targets[:, k]) for k in range(num_classes)]

    def _areas(self) -> list[float | None]:
        logits, targets = self._all()
        return [auroc(logits[:, k], targets[:, k]) for k in range(logits.shape[1])]

    def _weigher(self, rankings: bool) -> Callable[[NDArray[np.float64]], dict[str, float]]:
        """The function of `weigher`, with rankings or without."""
        logits, targets = self._all()
        said, losses, scores = self._said(logits), self.losses(), self.scores()
        exact, wrong = (said == targets).all(axis=1), (said != targets).mean(axis=1)
        probabilities = probabilities_of(logits)
        squares = np.square(probabilities - targets).mean(axis=1)
        gaps = {name: _gaps(targets - probabilities, bins) for name, bins in bins_of(probabilities).items()}
        of_classes = [ranked(logits[:, k], targets[:, k]) for k in range(logits.shape[1])] if rankings else []
        of_all = ranked(logits.ravel(), targets.ravel()) if rankings else None

        def figures(weights: NDArray[np.float64]) -> dict[str, float]:
            total = weights.sum()
            counts = [weights @ it for it in (said & targets, said, targets)]
            found = _figures_of(*counts)
            means = {
                "f1_samples": scores, "subset_accuracy": exact, "hamming_loss": wrong, "brier": squares, "loss": losses,
            }  # fmt: skip
            found |= {name: float(weights @ values / total) for name, values in means.items()}
            found |= {name: float(np.abs(weights @ it).sum() / total) for name, it in gaps.items()}
            if of_all is not None:
                precisions, areas = np.array([of_class(weights) for of_class in of_classes]).T
                found["map_macro"] = float(np.nan_to_num(precisions).mean())
                found["auroc_macro"] = float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")
                found["map_micro"], found["auroc_micro"] = of_all(np.repeat(weights, targets.shape[1]))
            return found

        return figures


def _figures_of(right: NDArray[np.float64], said: NDArray[np.float64], true: NDArray[np.float64]) -> dict[str, float]:
    """Precision, recall and F1 of how often each class [K] is right, said, and true."""
    ways = {
        "precision": lambda a, b, _: a / np.maximum(b, 1),
        "recall": lambda a, _, c: a / np.maximum(c, 1),
        "f1": f1_of,
    }
    found = {}
    for name, way in ways.items():
        values = way(right, said, true)
        found[f"{name}_macro"] = float(values.mean())
        found[f"{name}_micro"] = float(way(right.sum(), said.sum(), true.sum()))
        found[f"{name}_weighted"] = float((values * true).sum() / max(true.sum(), 1))
    return found


def _gaps(apart: NDArray[np.float64], bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far truth is above probability in each bin, as a mean over the classes of each image, [N, BINS]."""
    count, classes = apart.shape
    places = (np.arange(count)[:, None] * BINS + bins).ravel()
    gaps: NDArray[np.float64] = np.zeros((count, BINS))
    gaps += np.bincount(places, apart.ravel(), count * BINS).reshape(count, BINS) / classes
    return gaps
