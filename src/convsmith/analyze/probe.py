"""How well embeddings tell classes apart: by their neighbours, and by one linear layer. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.embed import embedding_bundle, embedding_of_each
from convsmith.analyze.neighbours import knn_predict, linear_probe
from convsmith.bundle.predictor import Bundle
from convsmith.deploy.labelled import LabelledImages, open_labelled
from convsmith.errors import ConvsmithError
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.tables import Tabular

NEIGHBOURS = 20


@dataclass(frozen=True)
class Embedded:
    """The embeddings of the images of a part of the data that could be read.

    Attributes:
        names: of the images.
        rows: float32 [N, D].
        targets: the class of each by the bundle's number, [N].
    """

    names: tuple[str, ...]
    rows: NDArray[np.float32]
    targets: NDArray[np.int64]


@dataclass(frozen=True, repr=False)
class Probe(Tabular):
    """The accuracy of simple classifiers on embeddings, on validation images.

    Attributes:
        knn: share of the images whose class most of their `neighbours` among the training images have.
        linear: share of the images whose class a linear layer names that the training images fit.
        neighbours: how many.
        train_images, images: how many it learned from, and how many judged it.
        length: D, the numbers of an embedding.
    """

    knn: float
    linear: float
    neighbours: int
    train_images: int
    images: int
    length: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def records(self) -> list[dict[str, Any]]:
        """One row."""
        return [self.to_dict()]

    def parts(self) -> Iterator[str]:
        """Both accuracies, and of what."""
        yield f"{self.neighbours} nearest neighbours {self.knn:.2%}  linear probe {self.linear:.2%}"
        yield f"embeddings of {self.length} numbers; {self.train_images} training and {self.images} validation images"


def embed_data(
    bundle: Bundle[Any], data: Path, progress: ProgressCallback = notebook_progress
) -> tuple[Embedded, Embedded]:
    """The embeddings of the training and of the validation images of data, split as in training.

    Raises:
        ConvsmithError: the bundle gives no embeddings, or the data cannot be used.
    """
    opened = embedding_bundle(bundle)
    train, val = (_embedded(opened, part, progress) for part in open_labelled(opened.manifest, data))
    return train, val


def probe(train: Embedded, val: Embedded) -> Probe:
    """Let simple classifiers judge embeddings.

    Args:
        train: what they learn from.
        val: what judges them.

    Raises:
        ConvsmithError: one of them holds no image.
    """
    if not len(train.rows) or not len(val.rows):
        raise ConvsmithError("embeddings cannot be judged", "there is no training, or no validation image")
    known, asked, true = (train.rows, train.targets), val.rows, val.targets
    knn = float((knn_predict(*known, asked, NEIGHBOURS) == true).mean())
    linear = float((linear_probe(*known, asked) == true).mean())
    return Probe(knn, linear, min(NEIGHBOURS, len(train.rows)), len(train.rows), len(val.rows), asked.shape[1])


def has_one_class_each(bundle: Bundle[Any]) -> bool:
    """Whether each image of the bundle's data has a single class."""
    return bundle.task.new_results(bundle.manifest).one_answer_each


def require_one_class_each(bundle: Bundle[Any]) -> None:
    """Raise a ConvsmithError unless each image of the bundle's data has a single class."""
    if not has_one_class_each(bundle):
        raise ConvsmithError(
            "neighbours and a linear probe name one class for each image",
            f"the bundle's task is {bundle.manifest.task}",
            "Name the images in place of --data, or give --fit or --out.",
        )


def _embedded(bundle: Bundle[Any], images: LabelledImages, progress: ProgressCallback) -> Embedded:
    numbers, rows = list[int](), list[NDArray[np.float32]]()
    for number, row in embedding_of_each(bundle, images.samples, progress):
        numbers.append(number)
        rows.append(row)
    targets = images.samples.targets[numbers]
    if images.classes is not None:
        targets = np.asarray(images.classes, np.int64)[targets]
    length = bundle.manifest.embeddings or 0
    table = np.stack(rows) if rows else np.empty((0, length), np.float32)
    return Embedded(tuple(images.name(number) for number in numbers), table, targets.astype(np.int64))
