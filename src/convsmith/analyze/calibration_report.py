"""Figures of a calibration on images that were kept back. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.fit_scaling import log_loss, probabilities
from convsmith.analyze.unknown import CERTAINTY
from convsmith.bundle.calibration import Calibration, Sets, Unknown, in_set
from convsmith.bundle.figures.calibration_error import calibration_error, judged_probabilities
from convsmith.bundle.figures.certainty_intervals import wilson
from convsmith.bundle.figures.evaluation import between
from convsmith.errors import counted, quoted
from convsmith.tables import Tabular, add_figures, add_names, new_table
from convsmith.words import for_terminal

if TYPE_CHECKING:
    from rich.table import Table

_WORDS = {"ece": "calibration error", "loss": "log loss", "accuracy": "accuracy"}


def measured(
    logits: NDArray[np.float64], truth: NDArray[np.bool_], calibration: Calibration, exclusive: bool
) -> dict[str, Any]:
    """Figures before and after scaling, of sets, and of answers that are not `unknown`, as JSON values.

    Args:
        logits: as the model gives them, [M, K].
        truth: which classes are true, [M, K].
        calibration: what is measured.
        exclusive: whether classes exclude each other.
    """
    scaled = calibration.scaled(logits)
    p = probabilities(scaled, exclusive)
    found: dict[str, Any] = {
        "before": _figures(logits, truth, exclusive),
        "after": _figures(scaled, truth, exclusive),
    }
    if calibration.sets is not None:
        found["sets"] = _of_sets(p, truth, calibration.sets)
    if calibration.unknown is not None:
        right = truth[np.arange(len(p)), p.argmax(axis=1)]
        found["unknown"] = _of_unknown(p.max(axis=1), right, calibration.unknown)
    return found


def _figures(logits: NDArray[np.float64], truth: NDArray[np.bool_], exclusive: bool) -> dict[str, float]:
    confidence, right = judged_probabilities(logits, truth, exclusive)
    found = {"ece": calibration_error(confidence, right), "loss": log_loss(logits, truth, exclusive)}
    return {**found, "accuracy": float(right.mean())} if exclusive else found


def _of_sets(p: NDArray[np.float64], truth: NDArray[np.bool_], sets: Sets) -> dict[str, Any]:
    """How many of the true classes the sets hold, and how large they are."""
    chosen = in_set(p, sets.thresholds)
    held, true, sizes = (chosen & truth).sum(axis=0), truth.sum(axis=0), chosen.sum(axis=1)
    return {
        "coverage": float(held.sum() / true.sum()) if true.any() else None,
        "true": int(true.sum()),
        "mean_size": float(sizes.mean()),
        "empty": float((sizes == 0).mean()),
        "single": float((sizes == 1).mean()),
        "by_class": [float(a / b) if b else None for a, b in zip(held, true, strict=True)],
    }


def _of_unknown(confidence: NDArray[np.float64], right: NDArray[np.bool_], unknown: Unknown) -> dict[str, Any]:
    """How many images are answered, and how many of the answers are right; what it costs where that is known."""
    answered = confidence >= unknown.threshold
    wrong = int((answered & ~right).sum())
    found: dict[str, Any] = {
        "answered": int(answered.sum()),
        "unknown": float((~answered).mean()),
        "precision": float(right[answered].mean()) if answered.any() else None,
    }
    if unknown.cost_wrong is not None and unknown.cost_unknown is not None:
        found["cost"] = (wrong * unknown.cost_wrong + int((~answered).sum()) * unknown.cost_unknown) / len(right)
        found["cost_of_always_answering"] = float((~right).mean()) * unknown.cost_wrong
    return found


@dataclass(frozen=True, repr=False)
class CalibrationReport(Tabular):
    """The result of calibrating a bundle.

    Attributes:
        bundle: folder of the calibrated bundle.
        method: how logits are scaled.
        labels: class names.
        calibration: what the bundle has of it; its `measured` are the figures of the images that were kept back.
        remarks: what there is to say besides.
    """

    bundle: str
    method: str
    labels: tuple[str, ...]
    calibration: Calibration
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "bundle": self.bundle,
            "method": self.method,
            "labels": list(self.labels),
            **self.calibration.model_dump(mode="json"),
            "remarks": list(self.remarks),
        }

    def records(self) -> list[dict[str, Any]]:
        """A row for the figures before, and one for those after."""
        return [{"scaled": name == "after", **self.calibration.measured[name]} for name in ("before", "after")]

    def parts(self) -> Iterator[str | Table]:
        """How it was fitted, and what it gives on the images that were kept back."""
        own, images = self.calibration, self.calibration.images
        if own.bias is None:
            yield f"temperature {1 / own.weights[0]:.4f}, by {counted(images['scaling'], 'image')}"
        else:
            yield f"two numbers for each class, by {counted(images['scaling'], 'image')}"
        yield from self.remarks
        table = new_table()
        add_names(table, f"{counted(images['kept_back'], 'image')} kept back")
        add_figures(table, "before", "after")
        for name in own.measured["before"]:
            table.add_row(_WORDS[name], *(f"{own.measured[when][name]:.4f}" for when in ("before", "after")))
        yield table
        if own.sets is not None:
            yield from self._of_sets(own.sets, own.measured["sets"])
        if own.unknown is not None:
            yield _of_answers(own.unknown, own.measured["unknown"], images["kept_back"])

    def _of_sets(self, sets: Sets, found: dict[str, Any]) -> Iterator[str]:
        reached = "none of the true classes, for there are none"
        if found["coverage"] is not None:
            reached = f"{found['coverage']:.2%}{between(wilson(found['coverage'], found['true']))} of the true classes"
        yield (
            f"sets hold {reached}, {sets.coverage:.2%} asked for; they have {found['mean_size']:.2f} classes on "
            f"average, {found['single']:.1%} of them one, {found['empty']:.1%} none; thresholds by "
            f"{counted(self.calibration.images['thresholds'], 'image')}"
        )
        if len(sets.shared) == len(self.labels):
            yield "one threshold for all classes: there are too few images for one of each"
        elif sets.shared:
            names = quoted(for_terminal(self.labels[k]) for k in sets.shared)
            yield f"each class has its own threshold, but for {names}, of which there are too few images"
        else:
            yield "each class has its own threshold"


def _of_answers(unknown: Unknown, found: dict[str, Any], images: int) -> str:
    if found["precision"] is None:
        return f"unknown: below {unknown.threshold:.4f}, which all of the images are"
    right = f"{found['precision']:.2%}{between(wilson(found['precision'], found['answered']))}"
    asked = "" if unknown.precision is None else f", {unknown.precision:.2%} asked for with {CERTAINTY:.0%} certainty"
    cost = ""
    if "cost" in found:
        cost = f"; an image costs {found['cost']:.4f}, with answers to all {found['cost_of_always_answering']:.4f}"
    return (
        f"unknown: below {unknown.threshold:.4f}, {found['unknown']:.1%} of {images:,}; "
        f"of the other answers {right} are right{asked}{cost}"
    )
