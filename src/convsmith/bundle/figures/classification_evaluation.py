"""Figures of a finished classifier, beside those that a training needs. Needs no torch.

Precision, recall, F1, AUROC and average precision are scikit-learn's: `precision_recall_fscore_support` over the
classes that occur, with `zero_division=0`; `roc_auc_score` and `average_precision_score` of each class against the
rest. Brier's score is his own of 1950, from 0 to 2. Calibration errors are those of the highest probability: over 15
bins of equal width (torchmetrics' `MulticlassCalibrationError`), and over 15 with equally many images (Nguyen and
O'Connor 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.calibration import Calibration, in_set
from convsmith.bundle.classification import softmax
from convsmith.bundle.figures.calibration_error import BINS, bins_of
from convsmith.bundle.figures.certainty_intervals import MOST_RANKED, Interval, bootstrap, draws_for, wilson
from convsmith.bundle.figures.chart import Chart
from convsmith.bundle.figures.class_rankings import RANKINGS, class_rankings, known_mean, mean_rankings
from convsmith.bundle.figures.classification_metrics import ClassificationResults
from convsmith.bundle.figures.result_charts import answered, reliability
from convsmith.errors import ConvsmithError

MORE = (
    "precision_macro", "precision_weighted", "recall_macro", "recall_weighted", "f1_macro", "f1_micro", "f1_weighted",
    "auroc", "average_precision", "brier", "ece", "adaptive_ece", "top3", "top10",
)  # fmt: skip
"""Figures beside those of `ClassificationResults`."""

DECIDED = ("set_coverage", "set_size", "unknown", "known_right")
"""Figures of calibrated bundles: how many sets hold the true class, and how large they are; how many answers are
`unknown`, and how many of the others right."""

_TOPS = {"top1": 1, "top3": 3, "top5": 5, "top10": 10}

_MOST = 1 << 28  # logits that are kept, 1 GiB


class ClassificationEvaluation(ClassificationResults):
    """Gathers predictions with the logits of all classes.

    With more than 2^28 pairs of image and class they are not kept, and what needs them all is not measured.

    Args:
        calibration: of the bundle, whose logits are scaled already; None: it has none.
    """

    score = "top1"

    def __init__(self, calibration: Calibration | None = None) -> None:
        super().__init__()
        self._calibration = calibration
        self._sets: list[NDArray[np.int64]] = []  # [N, 2]: whether each holds the true class, and its size
        self._ranks: list[NDArray[np.int64]] = []  # how many classes are above the true one
        self._logits: list[NDArray[np.float32]] | None = []
        self._num_classes = self._pairs = 0
        self._confidences: list[NDArray[np.float64]] = []
        self._briers: list[NDArray[np.float64]] = []

    def empty(self) -> ClassificationEvaluation:
        """A collection without predictions."""
        return ClassificationEvaluation(self._calibration)

    def merge(self, other: Self) -> None:
        """Add the predictions of another one."""
        super().merge(other)
        self._ranks += other._ranks
        self._sets += other._sets
        self._confidences += other._confidences
        self._briers += other._briers
        self._pairs += other._pairs
        self._num_classes = self._num_classes or other._num_classes
        if self._logits is not None and other._logits is not None and self._pairs <= _MOST:
            self._logits += other._logits
        else:
            self._logits = None
        self._forget()

    def _forget(self) -> None:
        """Let what was made of fewer predictions be made anew."""
        for name in ("_ranked", "_outcomes"):
            self.__dict__.pop(name, None)

    def update(self, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> None:
        """Take in logits [N, K] and class indices [N]; see `ClassificationResults`."""
        super().update(logits, targets)
        self._forget()
        true = np.take_along_axis(logits, targets[:, None], axis=1)
        before = (logits == true) & (np.arange(logits.shape[1]) < targets[:, None])  # the lower class counts as higher
        self._ranks.append((logits > true).sum(axis=1) + before.sum(axis=1))
        probabilities = softmax(logits)  # that of answers, to the last bit: a threshold may be one of them
        own = np.take_along_axis(probabilities, targets[:, None], axis=1)[:, 0]
        self._confidences.append(probabilities.max(axis=1))
        self._briers.append(np.square(probabilities).sum(axis=1) - 2 * own + 1)
        if self._calibration is not None and self._calibration.sets is not None:
            chosen = in_set(probabilities, self._calibration.sets.thresholds)
            held = np.take_along_axis(chosen, targets[:, None], axis=1)[:, 0]
            self._sets.append(np.stack([held, chosen.sum(axis=1)], axis=1).astype(np.int64))
        self._num_classes = logits.shape[1]
        self._pairs += probabilities.size
        if self._pairs > _MOST:
            self._logits = None
        if self._logits is not None:
            self._logits.append(np.array(logits, np.float32))

    def select(self, numbers: NDArray[np.int64]) -> ClassificationEvaluation:
        """A collection of the images of these numbers, each as often as it is named."""
        chosen = self.empty()
        chosen._targets, chosen._top = ([np.concatenate(kept)[numbers]] for kept in (self._targets, self._top))
        chosen._ranks = [np.concatenate(self._ranks)[numbers]]
        chosen._log_likelihoods, chosen._confidences, chosen._briers = (
            [np.concatenate(kept)[numbers]] for kept in (self._log_likelihoods, self._confidences, self._briers)
        )
        chosen._sets = [np.concatenate(self._sets)[numbers]] if self._sets else []
        chosen._num_classes, chosen._pairs = self._num_classes, len(numbers) * self._num_classes
        fit = self._logits is not None and chosen._pairs <= _MOST
        chosen._logits = [self.logits[numbers]] if fit else None
        return chosen

    @property
    def logits(self) -> NDArray[np.float32]:
        """The logits of all images, [N, K].

        Raises:
            ConvsmithError: they are too many to be kept.
        """
        if self._logits is None:
            raise ConvsmithError(
                "the logits of so many images and classes are not kept",
                f"there are {self._pairs:,} pairs, and {_MOST:,} at most are",
                "Judge a part of the images.",
            )
        return np.concatenate(self._logits)

    def right(self) -> NDArray[np.bool_]:
        """Whether the class of the highest logit is the true one, for each image, [N]."""
        right: NDArray[np.bool_] = self.targets == self.predictions
        return right

    def losses(self) -> NDArray[np.float64]:
        """The cross-entropy of each image, [N]."""
        return -np.concatenate(self._log_likelihoods)

    def rows(self, labels: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The label that is `true` and the one `predicted`, its `score`, and the `loss` of each image.

        `scores` has the probability of every class, [K]; None where they are not kept.
        """
        own, first = self._outcomes, 0
        parts = [None] * len(self._targets) if self._logits is None else list(map(_probabilities, self._logits))
        for part, targets in zip(parts, self._targets, strict=True):
            for place in range(len(targets)):
                number = first + place
                yield {
                    "true": labels[own["true"][number]],
                    "predicted": labels[own["said"][number]],
                    "right": bool(own["right"][number]),
                    "score": float(own["confidence"][number]),
                    "loss": float(own["loss"][number]),
                    "scores": None if part is None else part[place].tolist(),
                }
            first += len(targets)

    def charts(self) -> tuple[Chart, ...]:
        """Reliability of the highest probability, and what a threshold on it costs."""
        own = self._outcomes
        return reliability(own["confidence"], own["right"], "images"), answered(own["confidence"], own["right"])

    def compute(self) -> dict[str, float]:
        """The figures over all images; those of rankings are NaN where too many pairs would have to be ranked."""
        found = super().compute()
        if not self._targets:
            return {**found, **dict.fromkeys(MORE, math.nan)}
        ranked = self._ranked
        return {
            **self._weighed(np.ones(len(self.targets))),
            **found,
            "f1_micro": found["top1"],
            "auroc": known_mean(ranked["auroc"]),
            "average_precision": known_mean(ranked["average_precision"]),
            **self._decided(),
        }

    def _decided(self) -> dict[str, float]:
        """Those of `DECIDED` that the bundle has."""
        found = {}
        if self._sets:
            found = dict(zip(DECIDED, np.concatenate(self._sets).mean(axis=0).tolist(), strict=False))
        if self._calibration is not None and self._calibration.unknown is not None:
            known = np.concatenate(self._confidences) >= self._calibration.unknown.threshold
            found["unknown"] = float((~known).mean())
            found["known_right"] = float(self.right()[known].mean()) if known.any() else math.nan
        return found

    def by_class(self, num_classes: int) -> dict[str, tuple[float | None, ...]]:
        """`per_class`, the fraction right, which is the recall; `precision`, `f1`, `auroc`, `average_precision` [K].

        None for a class without images; `support` says how many it has.
        """
        counts = self._counts(np.ones(len(self.targets)), num_classes)
        precision, recall, f1 = (values.tolist() for values in _shares(*counts))
        there = [bool(count) for count in counts[1]]
        figures = {"per_class": recall, "precision": precision, "f1": f1, **self._ranked}
        return {
            "support": tuple(map(int, counts[1])),
            **{
                name: tuple(value if is_there else None for value, is_there in zip(values, there, strict=True))
                for name, values in figures.items()
            },
        }

    def intervals(self) -> dict[str, Interval]:
        """The 95 % intervals of those figures that are cheap to compute anew: Wilson's of shares, else by bootstrap."""
        count = len(self.targets)
        shares = {name: wilson(float(self._outcomes[name].mean()), count) for name in _TOPS}
        shares["f1_micro"] = shares["top1"]  # where each image has one class, they are one figure
        of_rankings = {}
        if self._rankings_are_cheap:
            rankings = mean_rankings(_probabilities(self.logits), self.targets)
            of_rankings = bootstrap(rankings, count, draws_for(self._pairs))
        decided = self._decided()
        shares |= {name: wilson(decided[name], count) for name in ("set_coverage", "unknown") if name in decided}
        if decided.get("unknown", 1) < 1:
            shares["known_right"] = wilson(decided["known_right"], round(count * (1 - decided["unknown"])))
        return {**bootstrap(self._weighed, count), **of_rankings, **shares}

    def weigher(self) -> Callable[[NDArray[np.float64]], dict[str, float]]:
        """All figures where each image counts so often; those of rankings only of up to 2^20 pairs."""
        if not self._rankings_are_cheap:
            return self._weighed
        rankings = mean_rankings(_probabilities(self.logits), self.targets)
        return lambda weights: {**self._weighed(weights), **rankings(weights)}

    @property
    def _rankings_are_cheap(self) -> bool:
        return self._logits is not None and self._pairs <= MOST_RANKED

    def scores(self) -> NDArray[np.float64]:
        """1 where the class of the highest logit is the true one, else 0, [N]."""
        return self.right().astype(np.float64)

    def images_of_classes(self, num_classes: int) -> list[NDArray[np.int64]]:
        """The numbers of the images of each class."""
        ends = np.cumsum(np.bincount(self.targets, minlength=num_classes))
        return np.split(np.argsort(self.targets, kind="stable"), ends[:-1])

    @cached_property
    def _ranked(self) -> dict[str, list[float | None]]:
        """AUROC and average precision of each class; None where they are not measured."""
        if self._logits is None:
            return {name: [None] * self._num_classes for name in RANKINGS}
        return class_rankings(np.concatenate(list(map(_probabilities, self._logits))), self.targets)

    @cached_property
    def _outcomes(self) -> dict[str, NDArray[Any]]:
        """Arrays [N] that the figures are made of, and the bins of both calibration errors."""
        confidence, ranks = np.concatenate(self._confidences), np.concatenate(self._ranks)
        return {
            "true": self.targets,
            "said": self.predictions,
            "right": self.scores(),
            "confidence": confidence,
            "loss": self.losses(),
            "brier": np.concatenate(self._briers),
            **bins_of(confidence),
            **{name: (ranks < k).astype(np.float64) for name, k in _TOPS.items()},
        }

    def _weighed(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Figures where each image counts so often, [N]."""
        own, total = self._outcomes, weights.sum()
        right, true, said = self._counts(weights, self._num_classes)
        precision, recall, f1 = _shares(right, true, said)
        occurs, there = (true + said) > 0, true > 0
        found = {"balanced_accuracy": float(recall[there].mean())}
        for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
            found[f"{name}_macro"] = float(values[occurs].mean())
            found[f"{name}_weighted"] = float((values * true).sum() / total)
        found |= {name: float((own[name] * weights).sum() / total) for name in ("loss", "brier", *_TOPS)}
        gap = weights * (own["right"] - own["confidence"])
        for name in ("ece", "adaptive_ece"):
            found[name] = float(np.abs(np.bincount(own[name], gap, BINS)).sum() / total)
        return found

    def _counts(self, weights: NDArray[np.float64], num_classes: int) -> tuple[NDArray[np.float64], ...]:
        """How many images of each class [K] are right, there are, and are said to be."""
        own = self._outcomes
        ways = (("true", weights * own["right"]), ("true", weights), ("said", weights))
        return tuple(np.bincount(own[name], values, num_classes).astype(np.float64) for name, values in ways)


def _probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities [N, K], computed in float64."""
    return softmax(logits).astype(np.float32)


def _shares(
    right: NDArray[np.float64], true: NDArray[np.float64], said: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, recall and F1 of counts; 0 where there is nothing to divide by."""
    least = np.finfo(np.float64).tiny
    return right / np.maximum(said, least), right / np.maximum(true, least), 2 * right / np.maximum(said + true, least)
