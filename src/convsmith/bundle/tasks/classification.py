"""Classification: one class for each image."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from convsmith.bundle.classification import Classification, labels_as_json, set_in_words
from convsmith.bundle.distance import Distance
from convsmith.bundle.figures.classification_evaluation import DECIDED, MORE, ClassificationEvaluation
from convsmith.bundle.figures.classification_metrics import ClassificationResults
from convsmith.bundle.figures.evaluation import Evaluation, between
from convsmith.bundle.square_task import SquareTask
from convsmith.bundle.task import Results, Said, Table
from convsmith.devices import Place
from convsmith.errors import ConvsmithError

if TYPE_CHECKING:
    from convsmith.bundle.format import Manifest

_USUAL_TOP, _USUAL_ROWS = 5, 1


class ClassScore(BaseModel):
    """One class and its probability, 0 to 1."""

    class_id: int
    label: str
    score: float


class ClassAnswer(ClassScore):
    """The most probable class, and the `top` ones in order."""

    top: list[ClassScore]
    set: list[ClassScore] | None = Field(
        None, description="Of a bundle with sets: the classes among which the true one is, with its coverage."
    )
    unknown: bool | None = Field(None, description="Of a bundle that may not know the class: that it does not.")
    distance: Distance | None = Field(None, description="How far it is from the training images, if that is known.")
    meta: Place


class ClassificationTask(SquareTask):
    """A square of each image; the most probable class is the answer."""

    name = "classification"
    metrics: tuple[str, ...] = ("top1", "balanced_accuracy")
    exclusive = True
    own_classes = False
    says_unknown = True
    schema: type[BaseModel] = ClassAnswer
    listed = True
    csv_columns: Mapping[str, type] = {"rank": int, "class_id": int, "label": str, "score": float}

    def answer(self, said: Said, manifest: Manifest) -> Classification:
        """The classes by probability."""
        return Classification(said, manifest.labels, calibration=manifest.calibration)

    def shares(self, answer: Classification) -> NDArray[np.float64]:
        """All of it is the class."""
        shares: NDArray[np.float64] = np.eye(1, len(answer.logits), answer.class_id)[0]
        return shares

    def certainty(self, answer: Classification) -> float:
        """The probability of the class."""
        return answer.score

    def pair(self, scores: Said, target: Any, num_classes: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """One row; the class is true."""
        return scores[None], (np.arange(num_classes) == target)[None]

    def decisions(self, said: Said, manifest: Manifest) -> NDArray[Any]:  # noqa: ARG002
        """The class."""
        return np.asarray(said.argmax())

    def new_results(self, manifest: Manifest) -> ClassificationResults:  # noqa: ARG002
        """An empty collection."""
        return ClassificationResults()

    def new_evaluation(self, manifest: Manifest, *, boundary: bool = False) -> ClassificationEvaluation:
        """An empty collection; a ConvsmithError for boundaries."""
        if boundary:
            raise ConvsmithError("boundaries are measured of masks", "this bundle is a classifier")
        return ClassificationEvaluation(manifest.calibration)

    def figures(self, results: Results) -> dict[str, float | None]:
        """Accuracies, loss, and what `ClassificationEvaluation` has besides; None for one that is not measured."""
        found = results.compute()
        names = ("top1", "top5", "balanced_accuracy", "loss", *MORE, *(name for name in DECIDED if name in found))
        return {name: None if math.isnan(found[name]) else found[name] for name in names}

    def tabulate(self, evaluation: Evaluation) -> Table:
        """Accuracy and loss; the images and the fraction right of each class, and the confusion."""
        figures, classes = evaluation.figures, evaluation.classes
        columns = {"right": "per_class", "precision": "precision", "F1": "f1"}
        words = {"f1_macro": "F1", "auroc": "AUROC", "brier": "Brier", "ece": "calibration error"}
        known = [(word, figures[name]) for name, word in words.items()]
        more = [f"{word} {value:.4f}" for word, value in known if value is not None]
        return Table(
            headline=[
                f"top-1 {figures['top1']:.2%}{between(evaluation.intervals.get('top1'))}",
                f"top-5 {figures['top5']:.2%}",
                f"loss {figures['loss']:.4f}",
            ],
            columns={
                "images": [str(sum(row)) for row in evaluation.confusion],
                **{
                    title: ["" if share is None else f"{share:.2%}" for share in classes[name]]
                    for title, name in columns.items()
                },
            },
            confusion=True,
            remarks=["  ".join(more), *_decided_in_words(evaluation)],
        )

    def to_json(self, answer: Classification, top: int | None = None) -> dict[str, Any]:
        """All keys of `ClassAnswer`; 5 classes unless told otherwise."""
        return answer.to_dict(top or _USUAL_TOP)

    def summary(self, answer: Classification, top: int | None = None) -> dict[str, Any]:
        """The same, with 1 class unless told otherwise."""
        return answer.to_dict(top or _USUAL_ROWS)

    def entries(self, answer: Classification, top: int | None = None) -> list[tuple[str, str]]:
        """Probability and label of the classes, the most probable first; with it what is decided."""
        (score, label), *others = [(f"{entry.score:.2%}", entry.label) for entry in answer.top(top or _USUAL_ROWS)]
        label = f"unknown ({label})" if answer.unknown else label
        return [(score, label if answer.set is None else f"{label} {set_in_words(answer.set)}"), *others]

    def csv_rows(self, answer: Classification, top: int | None = None) -> list[tuple[Any, ...]]:
        """A row for each class, the most probable first; the set is a JSON list of labels."""
        decided = [*labels_as_json(answer.set), *([] if answer.unknown is None else [json.dumps(answer.unknown)])]
        ranked = enumerate(answer.top(top or _USUAL_ROWS), 1)
        return [(rank, entry.class_id, entry.label, entry.score, *decided) for rank, entry in ranked]


def _decided_in_words(evaluation: Evaluation) -> list[str]:
    """A line each for sets and for `unknown`, where the bundle has them."""
    figures, lines = evaluation.figures, []
    with_ends = {name: f"{figures.get(name) or 0:.2%}{between(evaluation.intervals.get(name))}" for name in DECIDED}
    if "set_size" in figures:
        size = figures["set_size"]
        lines.append(f"sets hold {with_ends['set_coverage']} of the true classes, with {size:.2f} classes on average")
    if "unknown" in figures:
        right = "" if figures["known_right"] is None else f", {with_ends['known_right']} of the other answers right"
        lines.append(f"unknown {with_ends['unknown']}{right}")
    return lines


TASK = ClassificationTask()
