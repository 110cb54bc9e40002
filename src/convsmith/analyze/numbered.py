"""Answers of a model to the samples of a data set, by the number of the sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.predictor import Bundle
from convsmith.bundle.runtime import Infer
from convsmith.data.dataset import Samples
from convsmith.deploy.judging import Labelled, judge
from convsmith.deploy.labelled import LabelledImages
from convsmith.progress import ProgressCallback


@dataclass(frozen=True)
class _Numbered:
    """The images of a bundle, each with its number in place of its target."""

    images: LabelledImages

    def __len__(self) -> int:
        return len(self.images)

    def name(self, i: int) -> str:
        return self.images.name(i)

    def read(self, i: int) -> Labelled:
        return self.images.read(i)[0], i


def said_of_each(
    bundle: Bundle, samples: Samples, progress: ProgressCallback, infer: Infer | None = None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The number of each sample that can be read, and what is said of it, such as its logits `[K]`.

    Args:
        bundle: it reads the images, and says it.
        samples: what it is asked about.
        progress: called with how many samples are done, of how many, as work of the name `judge`.
        infer: says it in place of the bundle's model.
    """
    manifest = bundle.manifest if infer is None else bundle.manifest.without_calibration()
    inputs = _Numbered(LabelledImages(manifest, samples))
    for heard in judge(manifest, [infer or bundle.logits], inputs, what="judge", progress=progress):
        yield from zip(heard.targets, heard.said[0], strict=True)
