"""The deployed half of a task: all that depends on the task once a model is trained. One file of `tasks/` has a `TASK`.

Its name is that of the file; nothing else lists it. How it is trained says the file of the same name in
`convsmith.tasks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from convsmith.bundle.distance import Distance
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.runtime import Infer
from convsmith.spec import Preprocessing, Size

if TYPE_CHECKING:
    from convsmith.bundle.figures.chart import Chart
    from convsmith.bundle.figures.evaluation import Evaluation
    from convsmith.bundle.format import Manifest
    from convsmith.bundle.segmentation import Colour

Said = NDArray[Any]
"""A model's output for one image, as its task counts it: logits `[K]`, or the classes of its pixels `[H, W]`."""


Ask = Callable[
    [Infer, "Sequence[NDArray[np.uint8]] | NDArray[np.uint8]", Sequence[str], "Manifest"], list[Said | ImageError]
]
"""`Task.ask`, or another method with its arguments."""


class Answer(Protocol):
    """The result of `Bundle.predict`; each task has an own type."""

    meta: Mapping[str, str]
    """The `runtime`, `device` and `provider` that ran; empty where no bundle did."""

    distance: Distance | None
    """How far the image is from the training images, where the bundle knows it."""

    def to_dict(self) -> dict[str, Any]:
        """The answer, ready for JSON."""


class Results(Protocol):
    """Counts how right a model is; the figures do not depend on the order of the images, or on who counted which."""

    one_answer_each: bool
    """Whether an image has a single answer, which is right or wrong."""

    def add(self, said: Sequence[Said], targets: Sequence[Any]) -> None:
        """Compare what a model says of some images, at least one, with what is true."""

    def merge(self, other: Any) -> None:
        """Take in what another collection of the same kind counted."""

    def empty(self) -> Results:
        """A collection of the same kind that has counted nothing."""

    def compute(self) -> dict[str, float]:
        """The figures over all images: the task's metrics, and the `loss` where it is measured."""

    def by_class(self, num_classes: int) -> dict[str, tuple[float | None, ...]]:
        """Figures of each class by name, `[K]`; None where a class has none."""

    def confusion_matrix(self, num_classes: int) -> NDArray[np.int64]:
        """Counts `[K, K]`: rows are true classes, columns predicted ones."""

    def chance(self, num_classes: int) -> dict[str, float]:
        """Each metric of a model that names the most frequent class of these images, whatever it sees."""


class EvaluationResults(Results, Protocol):
    """Counts how right a finished model is, for all that an `Evaluation` says, and keeps the answer to each image."""

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Where figures lie with 95 % certainty on other images of the kind, by name, as far as that is known."""

    score: str
    """The name of the figure that is the mean of `scores`."""

    def weigher(self) -> Callable[[NDArray[np.float64]], dict[str, float]]:
        """A function that gives figures where each image counts so often, [N]: those that are cheap to compute anew."""

    def scores(self) -> NDArray[np.float64]:
        """How right the model is about each image, 0 to 1, [N]: of one answer each, whether it is right."""

    def images_of_classes(self, num_classes: int) -> list[NDArray[np.int64]]:
        """The numbers of the images that truly have each class, K arrays."""

    def select(self, numbers: NDArray[np.int64]) -> Self:
        """A collection of the images of these numbers, counted in the order of `add`, each as often as it is named."""

    def losses(self) -> NDArray[np.float64]:
        """How wrong the model is about each image, [N]; higher is worse, and 0 is right in all."""

    def charts(self) -> tuple[Chart, ...]:
        """Charts of the answers to all images: how far they can be trusted."""

    def rows(self, labels: Sequence[str]) -> Iterator[dict[str, Any]]:
        """A row of plain values for each image, with the answer and what is true; all have the same names."""


@dataclass(frozen=True)
class Table:
    """How an evaluation is printed.

    Attributes:
        headline: the figures over all images, in words.
        columns: what is said of each class: the cells `[K]` below each title.
        confusion: show the confusion matrix as well, as far as there is room.
        remarks: lines below.
    """

    headline: Sequence[str]
    columns: Mapping[str, Sequence[str]]
    confusion: bool = False
    remarks: Sequence[str] = ()


class Task(Protocol):
    """One kind of question that a model is trained to answer; what it says, and how that is counted and shown."""

    metrics: tuple[str, ...]
    """Names of the fractions that may judge a model, the usual one first."""

    hub_task: str
    """The Hugging Face Hub's name of what it does."""

    one_size: bool
    """Whether all images come to one size, so that several make a batch."""

    counted: str
    """The unit of the confusion matrix: images or pixels."""

    exclusive: bool
    """Whether classes exclude each other, so that the highest logit counts and no more than differences of logits."""

    own_classes: bool
    """Whether targets hold all classes of a model, so that data must have the same classes in the same order."""

    schema: type[BaseModel]
    """The shape of `to_json`."""

    pictures: Mapping[str, str]
    """Media types that `draw` knows, and how the name of such a file ends; empty: answers are not drawn."""

    listed: bool
    """Whether `entries` are printed on a line each, below a header; else all of an image are on one line."""

    csv_columns: Mapping[str, type]
    """Titles of the columns of `csv_rows`, and what their values are: int, float or str."""

    calibrated_columns: Mapping[str, type]
    """Those that follow in a calibrated bundle; before those of `Calibration.columns`, which are text."""

    says_sets: bool
    """Whether an answer may be a set of classes that holds what is true with a stated probability."""

    says_unknown: bool
    """Whether an answer may be that the class is unknown."""

    def check(self, spec: Preprocessing, num_classes: int) -> None:
        """Raise a ValueError unless images may be looked at so."""

    def check_image(self, image: NDArray[np.uint8], spec: Preprocessing, num_classes: int, name: str) -> None:
        """Raise the ImageError, which names it, that a preprocessed image [3, H, W] would get for its size."""

    def first_input(self, image: NDArray[np.uint8], spec: Preprocessing, num_classes: int) -> NDArray[np.uint8]:
        """The model's first input, uint8 [3, h, w], of a preprocessed image [3, H, W]; an ImageError as above."""

    def logits_shape(self, num_classes: int, size: Size) -> tuple[int, ...]:
        """The shape of the logits of one image of that height and width."""

    def ask(
        self,
        infer: Infer,
        images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
        names: Sequence[str],
        manifest: Manifest,
    ) -> list[Said | ImageError]:
        """Let a model answer preprocessed images [3, H, W]; an error stands for an image without an answer.

        Args:
            infer: the model.
            images: at least one; several have one size where the task has `one_size`.
            names: what an error calls each of them.
            manifest: of its bundle: how images are looked at, and logits are scaled.
        """

    def ask_scores(
        self,
        infer: Infer,
        images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
        names: Sequence[str],
        manifest: Manifest,
    ) -> list[Said | ImageError]:
        """Let a model answer as in `ask` with that which it decides by, and which calibration scales.

        That are logits of the whole image `[K]`, or of some of its pixels `[K, h, w]`.
        """

    def pair(self, scores: Said, target: Any, num_classes: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Logits `[M, K]` of what `ask_scores` gave of one image, and which of the classes are true, `[M, K]`."""

    def answer(self, said: Said, manifest: Manifest) -> Answer:
        """The answer that a user of the bundle gets."""

    def shares(self, answer: Any) -> NDArray[np.float64]:
        """How much of an answer is each class, [K], 1 in all; 0 where it names none."""

    def certainty(self, answer: Any) -> float | None:
        """How sure an answer is, 0 to 1; None where that is not known."""

    def decisions(self, said: Said, manifest: Manifest) -> NDArray[Any]:
        """Some numbers for each image, in which two forms of a model are said to agree."""

    def new_results(self, manifest: Manifest) -> Results:
        """An empty collection for the metrics of the bundle that the manifest is of."""

    def new_evaluation(self, manifest: Manifest, *, boundary: bool = False) -> EvaluationResults:
        """An empty collection for all figures of an `Evaluation`.

        Args:
            manifest: of the bundle that is judged.
            boundary: measure the boundaries of masks too.

        Raises:
            ConvsmithError: the task has no boundaries.
        """

    def figures(self, results: Results) -> dict[str, float | None]:
        """The figures of an `Evaluation` over all images, in this order; None for one that was not asked for."""

    def tabulate(self, evaluation: Evaluation) -> Table:
        """How an evaluation is printed."""

    def to_json(self, answer: Any, top: int | None = None) -> dict[str, Any]:
        """All of an answer; classes that are listed may be cut to the `top` ones."""

    def summary(self, answer: Any, top: int | None = None) -> dict[str, Any]:
        """The part of an answer that fits a line of JSON Lines, likewise."""

    def entries(self, answer: Any, top: int | None = None) -> list[tuple[str, str]]:
        """A share in words and a label for each class that is printed, likewise."""

    def csv_rows(self, answer: Any, top: int | None = None) -> list[tuple[Any, ...]]:
        """Rows of a CSV file, likewise."""

    def draw(self, answer: Any, image: NDArray[np.uint8], media_type: str) -> bytes:
        """A picture of an answer beside its preprocessed image [3, H, W]: a file of one of `pictures`."""

    def show(
        self, said: Said, target: Any, image: NDArray[np.uint8], manifest: Manifest
    ) -> list[tuple[str, NDArray[np.uint8]]]:
        """Pictures, RGB uint8 [H, W, 3], of a preprocessed image [3, H, W], what is true and what was said, by name."""

    def legend(self, manifest: Manifest) -> list[tuple[str, Colour]]:
        """The colours of the labels in those pictures; empty where they show none."""


def csv_columns(manifest: Manifest) -> dict[str, type]:
    """Titles of the columns of `csv_rows` of a bundle's answers, and what their values are."""
    task, calibration = find_task(manifest.task), manifest.calibration
    if calibration is None:
        return dict(task.csv_columns)
    return {**task.csv_columns, **task.calibrated_columns, **dict.fromkeys(calibration.columns(), str)}


def find_task(name: str) -> Task:
    """The task of that name, one of `list_tasks()`."""
    found: Task = import_module(f"convsmith.bundle.tasks.{name}").TASK
    return found


def judging_metric(task: Task, recipe: Mapping[str, Any]) -> str:
    """The metric that judges a model: its recipe's, or the usual one where that names no fraction of the task."""
    named = recipe.get("metric")
    return str(named) if named in task.metrics else task.metrics[0]
