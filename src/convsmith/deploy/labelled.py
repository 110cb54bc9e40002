"""Labelled images for a bundle, read as the bundle does it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.format import Manifest
from convsmith.bundle.images.decode import Picture
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.preprocess import as_input
from convsmith.bundle.task import find_task, judging_metric
from convsmith.data.classes import require_classes
from convsmith.data.dataset import Samples
from convsmith.data.open_data import data_of_bundle
from convsmith.deploy.judging import Labelled
from convsmith.errors import ConvsmithError, did_you_mean, quoted
from convsmith.randomness import Stream, counter_generator

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledImages:
    """Some of a data set's images.

    Attributes:
        manifest: of the bundle that they are for.
        samples: where they are.
        classes: for each class of the data, its number in the bundle; None where they are the same.
        notice: called with the number of each image that is read, from several threads, and the picture as it was
            decoded.
    """

    manifest: Manifest
    samples: Samples
    classes: Sequence[int] | None = None
    notice: Callable[[int, Picture], None] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def select(self, numbers: Sequence[int]) -> LabelledImages:
        """Those at `numbers`, in that order."""
        return LabelledImages(self.manifest, self.samples.select(numbers), self.classes)

    def name(self, i: int) -> str:
        """The name of image i in messages."""
        return self.samples.name(i)

    def read(self, i: int) -> Labelled:
        """The bundle's input and the target of image i.

        Raises:
            ImageError: it cannot be read, or is too large for the model; it names the image.
        """
        spec, name = self.manifest.preprocess, self.name(i)
        picture, target = self.samples.read(i, spec.bands)
        if self.notice is not None:
            self.notice(i, picture)
        image = as_input(picture, spec, name)
        find_task(self.manifest.task).check_image(image, spec, len(self.manifest.labels), name)
        return image, target if self.classes is None else self.classes[target]

    def __iter__(self) -> Iterator[Labelled]:
        """All of which `read` gives something."""
        for i in range(len(self)):
            try:
                yield self.read(i)
            except ImageError:  # as training and evaluation leave it out
                continue


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
    if find_task(manifest.task).own_classes:
        require_classes(data, dataset.classes, manifest.labels)
        return LabelledImages(manifest, dataset.train), LabelledImages(manifest, dataset.val)
    for label in dataset.classes:
        if label not in manifest.labels:
            raise ConvsmithError(
                f"{data} has the class `{label}`, which the bundle lacks{did_you_mean(label, manifest.labels)}",
                f"its classes are {quoted(manifest.labels)}",
                "Pass a folder whose class folders are named as in training.",
            )
    classes = [manifest.labels.index(label) for label in dataset.classes]
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


def metric_of(manifest: Manifest) -> str:
    """The metric that judges a bundle's model, see `judging_metric`."""
    return judging_metric(find_task(manifest.task), manifest.recipe)
