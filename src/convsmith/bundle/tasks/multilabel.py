"""Several labels: each class by itself is on an image or not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from convsmith.bundle.classification import labels_as_json, set_in_words
from convsmith.bundle.distance import Distance
from convsmith.bundle.figures.multilabel_evaluation import MORE, MultilabelEvaluation
from convsmith.bundle.figures.multilabel_metrics import FIGURES, MultilabelResults
from convsmith.bundle.multilabel import Multilabel, probabilities_of, scaled_thresholds, thresholds_of
from convsmith.bundle.square_task import SquareTask
from convsmith.bundle.task import Results, Said, Table
from convsmith.devices import Place
from convsmith.errors import ConvsmithError

if TYPE_CHECKING:
    from convsmith.bundle.figures.evaluation import Evaluation
    from convsmith.bundle.format import Manifest

_USUAL_TOP = 5


class LabelScore(BaseModel):
    """One class and its probability, 0 to 1."""

    class_id: int
    label: str
    score: float


class LabelsAnswer(BaseModel):
    """The classes that are on the image, and the most probable ones."""

    labels: list[LabelScore] = Field(description="Those that reach their threshold, the most probable first.")
    top: list[LabelScore] = Field(description="The most probable ones, whether they reach it or not.")
    set: list[LabelScore] | None = Field(
        None, description="Of a bundle with sets: those that may be on the image, each that is there with its coverage."
    )
    distance: Distance | None = Field(None, description="How far it is from the training images, if that is known.")
    meta: Place


class MultilabelTask(SquareTask):
    """A square of each image; the classes whose probability reaches their threshold are the answer."""

    name = "multilabel"
    metrics: tuple[str, ...] = FIGURES
    exclusive = False
    own_classes = True
    says_unknown = False
    schema: type[BaseModel] = LabelsAnswer
    listed = False
    csv_columns: Mapping[str, type] = {"class_id": int, "label": str, "score": float, "threshold": float}

    def answer(self, said: Said, manifest: Manifest) -> Multilabel:
        """The classes that reach their thresholds."""
        return Multilabel(said, manifest.labels, _thresholds(manifest), calibration=manifest.calibration)

    def shares(self, answer: Multilabel) -> NDArray[np.float64]:
        """The classes that are there share it evenly."""
        there: NDArray[np.bool_] = answer.probabilities >= answer.thresholds
        shares: NDArray[np.float64] = there / max(1, there.sum())
        return shares

    def certainty(self, answer: Multilabel) -> float:
        """The highest probability."""
        return float(answer.probabilities.max())

    def pair(self, scores: Said, target: Any, num_classes: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:  # noqa: ARG002
        """One row; the classes that are there are true."""
        return scores[None], np.asarray(target, np.bool_)[None]

    def decisions(self, said: Said, manifest: Manifest) -> NDArray[Any]:
        """Whether each class is there, [K]."""
        there: NDArray[np.bool_] = probabilities_of(said) >= thresholds_of(_thresholds(manifest), len(said))
        return there

    def new_results(self, manifest: Manifest) -> MultilabelResults:
        """An empty collection."""
        return MultilabelResults(_thresholds(manifest))

    def new_evaluation(self, manifest: Manifest, *, boundary: bool = False) -> MultilabelEvaluation:
        """An empty collection; a ConvsmithError for boundaries."""
        if boundary:
            raise ConvsmithError("boundaries are measured of masks", "this bundle says labels of whole images")
        return MultilabelEvaluation(_thresholds(manifest))

    def figures(self, results: Results) -> dict[str, float | None]:
        """The metrics, the loss, and what `MultilabelEvaluation` has besides; None for one that is not measured."""
        found = results.compute()
        return {name: None if math.isnan(found[name]) else found[name] for name in (*FIGURES, "loss", *MORE)}

    def tabulate(self, evaluation: Evaluation) -> Table:
        """Means over all classes; of each class its images, average precision, and what its threshold gives."""
        words = ("mAP", "micro mAP", "F1", "micro F1", "subset accuracy")
        figures = [evaluation.figures[name] for name in FIGURES]
        titles = {"AP": "ap", "F1": "f1", "precision": "precision", "recall": "recall"}
        classes, loss = evaluation.classes, evaluation.figures["loss"]
        absent = classes["positives"].count(0)
        remark = f"Classes that no image has count as 0 in the means: {absent} of {len(classes['positives'])}."
        return Table(
            headline=[
                *(f"{word} {value:.2%}" for word, value in zip(words, figures, strict=True)),
                f"loss {loss:.4f}",
            ],
            columns={
                "images": [str(count) for count in classes["positives"]],
                **{
                    title: ["" if value is None else f"{value:.2%}" for value in classes[name]]
                    for title, name in titles.items()
                },
                "threshold": [f"{value:.4f}" for value in classes["threshold"]],
            },
            remarks=[remark] if absent else [],
        )

    def to_json(self, answer: Multilabel, top: int | None = None) -> dict[str, Any]:
        """All keys of `LabelsAnswer`; 5 classes in `top` unless told otherwise."""
        return answer.to_dict(top or _USUAL_TOP)

    def summary(self, answer: Multilabel, top: int | None = None) -> dict[str, Any]:
        """The same."""
        return self.to_json(answer, top)

    def entries(self, answer: Multilabel, top: int | None = None) -> list[tuple[str, str]]:
        """Probability and label of the classes that are there, or of the `top` ones, the most probable first."""
        labels = answer.labels if top is None else answer.top(top)
        said = [(f"{it.score:.2%}", it.label) for it in labels] or [("no", "label")]
        return said if answer.set is None else [*said, ("set", set_in_words(answer.set))]

    def csv_rows(self, answer: Multilabel, top: int | None = None) -> list[tuple[Any, ...]]:
        """A row for each class that is there, or for each of the `top` ones; an empty one where there is none.

        The set is a JSON list of labels.
        """
        more = labels_as_json(answer.set)
        labels = answer.labels if top is None else answer.top(top)
        rows = [(it.class_id, it.label, it.score, float(answer.thresholds[it.class_id]), *more) for it in labels]
        return rows or [(*("",) * len(self.csv_columns), *more)]


def _thresholds(manifest: Manifest) -> Sequence[float] | None:
    """The thresholds of the probabilities that answers have."""
    if manifest.calibration is None:
        return manifest.thresholds
    return scaled_thresholds(manifest.thresholds, len(manifest.labels), manifest.calibration)


TASK = MultilabelTask()
