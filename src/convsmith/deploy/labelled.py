"""Labelled images for a bundle, read and answered as the bundle does it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.classification_metrics import ClassificationResults
from convsmith.bundle.decode import ImageError
from convsmith.bundle.format import Manifest
from convsmith.bundle.preprocess import read_and_preprocess
from convsmith.bundle.segment import allowed_sizes, segment
from convsmith.bundle.segmentation_metrics import SegmentationResults
from convsmith.data.classes import require_classes
from convsmith.data.dataset import Samples
from convsmith.data.layout import quoted
from convsmith.data.open_data import data_of_bundle
from convsmith.deploy.parity import Run
from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.randomness import Stream, counter_generator
from convsmith.recipe.task_fit import IMAGE_METRICS, PIXEL_METRICS
from convsmith.spec import WholeImage

logger = logging.getLogger(__name__)

Labelled = tuple[NDArray[np.uint8], Any]
"""An input of the bundle, uint8 [3, H, W], and its class, or the classes of its pixels, uint8 [H, W]."""


@dataclass(frozen=True)
class LabelledImages:
    """Some of a data set's images.

    Attributes:
        manifest: of the bundle that they are for.
        samples: where they are.
        classes: for each class of the folder, its number in the bundle; not used for masks.
    """

    manifest: Manifest
    samples: Samples
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.samples)

    def select(self, numbers: Sequence[int]) -> LabelledImages:
        """Those at `numbers`, in that order."""
        return LabelledImages(self.manifest, self.samples.select(numbers), self.classes)

    def __iter__(self) -> Iterator[Labelled]:
        """All that can be read, and are not too large for the model."""
        for i in range(len(self)):
            try:
                yield self._read(i)
            except ImageError:  # as training and evaluation leave it out
                continue

    def _read(self, i: int) -> Labelled:
        spec = self.manifest.preprocess
        picture, target = self.samples.read(i)
        image = read_and_preprocess(picture, spec, self.samples.name(i))
        if isinstance(spec, WholeImage):
            allowed_sizes(image.shape[1:], spec, len(self.manifest.labels))
            return image, target
        return image, self.classes[target]


def open_labelled(manifest: Manifest, data: Path) -> tuple[LabelledImages, LabelledImages]:
    """The training and the validation images of a folder, split as training splits it.

    Raises:
        ConvsmithError: the folder cannot be trained on, or has other classes than the bundle.
    """
    dataset = data_of_bundle(manifest, data)
    if not len(dataset.val):
        logger.warning(
            "the bundle's recipe holds no images out (eval: false): it is measured on a share of those to train on, "
            "which it may have learned from"
        )
        dataset = data_of_bundle(manifest, data, hold_out=True)
    if manifest.task == "segmentation":
        require_classes(data, dataset.classes, manifest.labels)
    for label in dataset.classes:
        if label not in manifest.labels:
            raise ConvsmithError(
                f"{data} has the class `{label}`, which the bundle lacks{did_you_mean(label, manifest.labels)}",
                f"its classes are {quoted(manifest.labels)}",
                "Pass a folder whose class folders are named as in training.",
            )
    classes = np.array([manifest.labels.index(label) for label in dataset.classes])
    return LabelledImages(manifest, dataset.train, classes), LabelledImages(manifest, dataset.val, classes)


def balanced_order(targets: NDArray[np.int64], seed: int) -> list[int]:
    """All samples in random order, such that the first ones have of each class as many as of any other."""
    generator = counter_generator(Stream.CALIBRATE, seed)
    shuffled = generator.permutation(len(targets))
    place = np.zeros(len(targets), np.int64)  # how many of its class come before
    seen: dict[int, int] = {}
    for i in shuffled:
        target = int(targets[i])
        place[i] = seen.get(target, 0)
        seen[target] = place[i] + 1
    return [int(i) for i in shuffled[np.argsort(place[shuffled], kind="stable")]]


def answers(
    manifest: Manifest, run: Run, images: Sequence[Labelled] | LabelledImages, batch_size: int = 32
) -> Iterator[tuple[NDArray[Any], Any]]:
    """What a model says of images: logits [N, K] of batches with their classes [N], or masks [H, W] with the true ones.

    Args:
        manifest: of the bundle.
        run: the model.
        images: what it is asked.
        batch_size: images of a classifier in one pass.
    """
    spec = manifest.preprocess
    if isinstance(spec, WholeImage):
        for image, mask in images:
            yield segment(image.transpose(1, 2, 0), spec, run, len(manifest.labels)), mask
        return
    batch: list[Labelled] = []
    for labelled in images:
        batch.append(labelled)
        if len(batch) == batch_size:
            yield _batch_answer(run, batch)
            batch = []
    if batch:
        yield _batch_answer(run, batch)


def _batch_answer(run: Run, batch: Sequence[Labelled]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return run(np.stack([image for image, _ in batch])), np.array([target for _, target in batch])


def new_results(manifest: Manifest) -> ClassificationResults | SegmentationResults:
    """An empty collection of answers; `update` takes what `answers` yields, `compute` gives the metrics."""
    return SegmentationResults(len(manifest.labels)) if manifest.task == "segmentation" else ClassificationResults()


def metric_of(manifest: Manifest) -> str:
    """The metric that judges a model: its recipe's, or the usual one where that names no fraction of the task."""
    fractions = PIXEL_METRICS if manifest.task == "segmentation" else IMAGE_METRICS
    named = manifest.recipe.get("metric")
    return str(named) if named in fractions else fractions[0]


Progress = Callable[[str, int, int], None]
"""Is told what is done, how much of it, and how much it is in all."""


def no_progress(_what: str, _done: int, _total: int) -> None:
    """Report to nothing."""
