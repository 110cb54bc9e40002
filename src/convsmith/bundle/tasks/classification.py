"""Classification: one class for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from convsmith.bundle.classification import Classification
from convsmith.bundle.classification_metrics import ClassificationResults
from convsmith.bundle.evaluation import Evaluation
from convsmith.bundle.image_error import ImageError, NoAnswer
from convsmith.bundle.runtime import Infer
from convsmith.bundle.task import Colours, Results, Said, Table
from convsmith.devices import Place
from convsmith.errors import ConvsmithError
from convsmith.spec import Preprocess, Preprocessing, Size

_USUAL_TOP, _USUAL_ROWS = 5, 1


class ClassScore(BaseModel):
    """One class and its probability, 0 to 1."""

    class_id: int
    label: str
    score: float


class ClassAnswer(ClassScore):
    """The most probable class, and the `top` ones in order."""

    top: list[ClassScore]
    meta: Place


class ClassificationTask:
    """A square of each image; the most probable class is the answer."""

    metrics: tuple[str, ...] = ("top1", "balanced_accuracy")
    one_size = True
    own_classes = False
    schema: type[BaseModel] = ClassAnswer
    pictures: Mapping[str, str] = {}
    listed = True
    csv_columns: tuple[str, ...] = ("rank", "class_id", "label", "score")

    def check(self, spec: Preprocessing, num_classes: int) -> None:  # noqa: ARG002  # any number will do
        """Raise a ValueError unless a square is cut out."""
        if not isinstance(spec, Preprocess):
            raise ValueError(f"the task classification does not go with the preprocessing {spec.method}")

    def check_image(self, image: NDArray[np.uint8], spec: Preprocessing, num_classes: int, name: str) -> None:
        """Take it: all are of one size."""

    def first_input(self, image: NDArray[np.uint8], spec: Preprocessing, num_classes: int) -> NDArray[np.uint8]:  # noqa: ARG002
        """The image, [3, crop, crop]."""
        return image

    def logits_shape(self, num_classes: int, size: Size) -> tuple[int, ...]:  # noqa: ARG002  # any size
        """[K]."""
        return (num_classes,)

    def ask(
        self,
        infer: Infer,
        images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
        names: Sequence[str],
        spec: Preprocessing,  # noqa: ARG002  # they are looked at in one way
        num_classes: int,  # noqa: ARG002
    ) -> list[Said | ImageError]:
        """The logits [K] of each image, or that they are not finite."""
        logits = infer(np.asarray(images))
        return [
            row if np.isfinite(row).all() else NoAnswer.of_logits(name) for row, name in zip(logits, names, strict=True)
        ]

    def answer(self, said: Said, labels: tuple[str, ...], colours: Colours | None) -> Classification:  # noqa: ARG002
        """The classes by probability."""
        return Classification(said, labels)

    def decisions(self, said: Said) -> NDArray[Any]:
        """The class."""
        return np.asarray(said.argmax())

    def new_results(self, num_classes: int, *, boundary: bool = False) -> ClassificationResults:  # noqa: ARG002  # any
        """An empty collection; a ConvsmithError for boundaries."""
        if boundary:
            raise ConvsmithError("boundaries are measured of masks", "this bundle is a classifier")
        return ClassificationResults()

    def figures(self, results: Results) -> dict[str, float | None]:
        """Accuracies, then the loss."""
        found = results.compute()
        return {name: found[name] for name in ("top1", "top5", "balanced_accuracy", "loss")}

    def tabulate(self, evaluation: Evaluation) -> Table:
        """Accuracy and loss; the images and the fraction right of each class, and the confusion."""
        top1, top5, loss = (evaluation.figures[name] for name in ("top1", "top5", "loss"))
        right = ["" if share is None else f"{share:.2%}" for share in evaluation.classes["per_class"]]
        return Table(
            headline=[f"top-1 {top1:.2%}", f"top-5 {top5:.2%}", f"loss {loss:.4f}"],
            columns={"images": [str(sum(row)) for row in evaluation.confusion], "right": right},
            confusion=True,
        )

    def to_json(self, answer: Classification, top: int | None = None) -> dict[str, Any]:
        """All keys of `ClassAnswer`; 5 classes unless told otherwise."""
        return answer.to_dict(top or _USUAL_TOP)

    def summary(self, answer: Classification, top: int | None = None) -> dict[str, Any]:
        """The same, with 1 class unless told otherwise."""
        return answer.to_dict(top or _USUAL_ROWS)

    def entries(self, answer: Classification, top: int | None = None) -> list[tuple[str, str]]:
        """Probability and label of the classes, the most probable first."""
        return [(f"{entry.score:.2%}", entry.label) for entry in answer.top(top or _USUAL_ROWS)]

    def csv_rows(self, answer: Classification, top: int | None = None) -> list[tuple[Any, ...]]:
        """A row for each class, the most probable first."""
        ranked = enumerate(answer.top(top or _USUAL_ROWS), 1)
        return [(rank, entry.class_id, entry.label, entry.score) for rank, entry in ranked]

    def draw(self, answer: Classification, image: NDArray[np.uint8], media_type: str) -> bytes:  # noqa: ARG002
        """Nothing: `pictures` is empty."""
        raise AssertionError(f"a class is not drawn as {media_type}")


TASK = ClassificationTask()
