"""Labels that trained models doubt, of images that these have not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.confident_learning import find_label_errors
from convsmith.analyze.linear_probe import FOLDS, predict_in_folds
from convsmith.analyze.numbered import said_of_each
from convsmith.analyze.probe import has_one_class_each
from convsmith.bundle.classification import softmax
from convsmith.bundle.predictor import Bundle
from convsmith.data.checks.names import MOST_NAMED, all_names
from convsmith.data.dataset import DataSet
from convsmith.data.digest import has_names_of
from convsmith.data.open_data import data_of_bundle
from convsmith.deploy.format import open_bundle
from convsmith.errors import ConvsmithError, counted, did_you_mean, quoted
from convsmith.progress import ProgressCallback, no_progress

_WEAK = 0.5  # share of labels that are seen as they are; where it is less, most of what is doubted is right


@dataclass(frozen=True)
class LabelError:
    """A label that is probably wrong.

    Attributes:
        name: of the image, as printable text.
        label: the class that it is labelled with.
        likely: the class that the models see.
        label_probability: what they give the label, 0 to 1.
        likely_probability: what they give the other class.
    """

    name: str
    label: str
    likely: str
    label_probability: float
    likely_probability: float


@dataclass(frozen=True)
class LabelErrors:
    """The labels that are probably wrong.

    Attributes:
        judged: how many images the models could judge, for they had not learned from them.
        number: how many labels are probably wrong.
        errors: the most certain of these first, at most `MOST_NAMED`.
        agreement: share of the images judged whose likeliest class is their label.
    """

    judged: int
    number: int
    errors: tuple[LabelError, ...]
    agreement: float

    @property
    def can_judge(self) -> bool:
        """Whether enough labels are seen as they are."""
        return self.agreement >= _WEAK

    def __str__(self) -> str:
        """`2 of 100 labels are probably wrong, such as a.png: cat, probably dog`."""
        if not self.number:
            return f"none of {counted(self.judged, 'label')} is probably wrong"
        seen = f"{self.agreement:.0%} of the labels are what the models see"
        if not self.can_judge:
            return f"labels cannot be judged, since only {seen}: these have learned too little"
        first = self.errors[0]
        are = "is" if self.number == 1 else "are"
        example = f"{first.name}: `{first.label}`, probably `{first.likely}`"
        return f"{self.number:,} of {counted(self.judged, 'label')} {are} probably wrong, such as {example}; {seen}"


class Predicted(NamedTuple):
    """Predictions of images that models have not learned from.

    Attributes:
        judged: the places of these images among those for training and then those for validation, int64 `[M]`.
        labels: the class of each, int64 `[M]`.
        probabilities: of each class, float32 `[M, K]`.
        notes: a line about each bundle that judged all images.
    """

    judged: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    notes: list[str]


def judge_labels(
    task: str, dataset: DataSet, data: Path, bundles: Sequence[Path], progress: ProgressCallback
) -> tuple[LabelErrors, list[str]]:
    """Find labels that are probably wrong by what trained models say of images that they have not learned from.

    A bundle that was trained on these data judges its validation images; one of other data judges all. So the bundles
    of a training for each fold judge every image. What several say of an image is averaged.

    Args:
        task: the name of the task that the data are for.
        dataset: the data, each image of one class.
        data: where they lie.
        bundles: folders of bundles or runs, at least one.
        progress: called with how many images are done, of how many, as work of the name `judge`.

    Returns:
        The label errors, and a line about each bundle that judged all images.

    Raises:
        ConvsmithError: a bundle is not for such data, or has learned from all of them.
    """
    predicted = predict_unseen(task, dataset, data, bundles, progress)
    return _named(dataset, predicted), predicted.notes


def judge_by_embeddings(dataset: DataSet, embeddings: NDArray[np.floating]) -> LabelErrors:
    """Find labels that are probably wrong by linear classifiers on embeddings, none of which has learned from an image
    that it judges.

    Args:
        dataset: the data, each image of one class.
        embeddings: of the images for training and then those for validation, `[N, D]`, by a network that has not
            learned these labels; 0 where an image cannot be read.
    """
    return _named(dataset, predict_by_embeddings(dataset, embeddings))


def predict_by_embeddings(dataset: DataSet, embeddings: NDArray[np.floating]) -> Predicted:
    """Predict each image by a linear classifier on the embeddings of others; arguments as of `judge_by_embeddings`."""
    judged = np.flatnonzero(embeddings.any(axis=1))
    labels = np.concatenate([dataset.train.targets, dataset.val.targets])[judged]
    names = np.concatenate([dataset.train.names, dataset.val.names])[judged]
    folds = (names % np.uint64(FOLDS)).astype(np.int64)
    probabilities = predict_in_folds(embeddings[judged], labels, folds, len(dataset.classes))
    return Predicted(judged, labels, probabilities, [])


def learned_these_labels(bundle: Bundle, data: Path) -> bool:
    """Whether a bundle was trained on these data, as far as its digest tells."""
    if bundle.manifest.data_digest is None:
        return False
    try:
        return has_names_of(data_of_bundle(bundle.manifest, data), bundle.manifest.data_digest)
    except ConvsmithError:  # it reads other data
        return False


def predict_unseen(
    task: str, dataset: DataSet, data: Path, bundles: Sequence[Path], progress: ProgressCallback = no_progress
) -> Predicted:
    """Ask bundles about images that they have not learned from; arguments and errors as of `judge_labels`."""
    names = np.concatenate([dataset.train.names, dataset.val.names])
    order = np.argsort(names)
    sums, times, notes = np.zeros((len(names), len(dataset.classes)), np.float32), np.zeros(len(names), np.int32), []
    for path in bundles:
        bundle = open_bundle(path)
        _require_labels(bundle, task)
        own, columns = _own_data(bundle, data), _columns(bundle, dataset.classes)
        for samples in (dataset.train, dataset.val) if own is None else (own.val,):
            places = order[np.searchsorted(names[order], samples.names)]
            for number, logits in said_of_each(bundle, samples, progress):
                sums[places[number]] += softmax(logits[columns])
                times[places[number]] += 1
        if own is None:
            notes.append(
                f"{path} was trained on other data, as far as its digest tells, and judges all labels; those that it "
                "has learned from after all seem right to it"
            )
    judged = np.flatnonzero(times)
    sums /= np.maximum(times, 1)[:, None]
    labels = np.concatenate([dataset.train.targets, dataset.val.targets])[judged]
    return Predicted(judged, labels, sums[judged], notes)


def _named(dataset: DataSet, predicted: Predicted) -> LabelErrors:
    judged, labels, probabilities, _ = predicted
    agreement = float((probabilities.argmax(axis=1) == labels).mean()) if len(labels) else 0.0
    found, name = find_label_errors(labels, probabilities), all_names(dataset)
    errors = []
    for i in found[:MOST_NAMED].tolist():
        label, likely = int(labels[i]), int(probabilities[i].argmax())
        errors.append(
            LabelError(
                name(judged[i]),
                dataset.classes[label],
                dataset.classes[likely],
                float(probabilities[i, label]),
                float(probabilities[i, likely]),
            )
        )
    return LabelErrors(len(judged), len(found), tuple(errors), agreement)


def _require_labels(bundle: Bundle, task: str) -> None:
    """Raise a ConvsmithError unless the bundle is for the data's task, and that gives each image one class."""
    if bundle.manifest.task != task:
        raise ConvsmithError(
            f"{bundle.path} cannot judge labels",
            f"it is for {bundle.manifest.task}, and the data are for {task}",
            "Leave it out, or name a recipe for its task.",
        )
    if not has_one_class_each(bundle):
        raise ConvsmithError(
            f"{bundle.path} cannot judge labels",
            "they are judged of images that have one class each",
            "Leave it out.",
        )


def _own_data(bundle: Bundle, data: Path) -> DataSet | None:
    """The data as the training of a bundle split them; None if it was not trained on them."""
    try:
        own = data_of_bundle(bundle.manifest, data)
    except ConvsmithError:  # it reads other data
        return None
    if not has_names_of(own, bundle.manifest.data_digest):
        return None
    if not len(own.val):
        raise ConvsmithError(
            f"{bundle.path} cannot judge labels",
            "it has learned from all of these images",
            "Give runs that held some out, such as one for each fold: data.folds=5 and data.fold=0 to 4.",
        )
    return own


def _columns(bundle: Bundle, classes: Sequence[str]) -> list[int]:
    """Where the classes of the data are among the logits."""
    for label in classes:
        if label not in bundle.labels:
            raise ConvsmithError(
                f"{bundle.path} cannot judge labels",
                f"it lacks the class `{label}`{did_you_mean(label, bundle.labels)}",
                f"Its classes are {quoted(bundle.labels)}.",
            )
    return [bundle.labels.index(label) for label in classes]
