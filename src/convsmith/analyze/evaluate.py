"""A bundle against labelled images. Needs no torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.figures.evaluation import Evaluation
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.task import EvaluationResults
from convsmith.data.dataset import Samples
from convsmith.data.open_data import judged_by
from convsmith.data.parts import Part
from convsmith.deploy.format import open_bundle
from convsmith.deploy.judging import judge
from convsmith.deploy.labelled import LabelledImages
from convsmith.errors import ConvsmithError
from convsmith.progress import ProgressCallback, notebook_progress


@dataclass(frozen=True)
class Judged:
    """The answers of a bundle to labelled images.

    Attributes:
        bundle: the one that was asked, as it was opened.
        evaluation: the figures over all images.
        results: what was counted, image by image.
        samples: the labelled images.
        numbers: which of them were judged, [N], in the order of `results`; the others could not be read.
    """

    bundle: Bundle
    evaluation: Evaluation
    results: EvaluationResults
    samples: Samples
    numbers: NDArray[np.int64]

    def names(self) -> Iterator[str]:
        """The name of each image that was judged."""
        return map(self.samples.name, self.numbers.tolist())


def evaluate_bundle(
    bundle: str | Path,
    data: str | Path,
    batch_size: int = 32,
    progress: ProgressCallback = notebook_progress,
    *,
    split: Part | None = None,
    boundary: bool = False,
    preprocess: Mapping[str, Any] | None = None,
    allow_code: bool = False,
    device: str = "auto",
    runtime: str | None = None,
    looking: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Judge a bundle by labelled images: of a classifier, in folders named like its labels; of segmentation, by masks.

    Args:
        bundle: the bundle's folder, of any format, or the run directory that it is in.
        data: the folder that the bundle was trained on, of which only the validation images are judged, split as in
            training; or another one, judged by `data/val/LABEL/*` where there is a `val`, else by `data/test/LABEL/*`,
            else by `data/LABEL/*`; with masks likewise, or by its training part where it has no others, at the images'
            own size.
        batch_size: images of a classifier in one forward pass; it changes speed, not results.
        progress: called with how many images are done, of how many.
        split: the part of the data to judge by, in place of the one for validation; no training has learned from
            `test`.
        boundary: of segmentation, measure Boundary IoU too.
        preprocess: of segmentation, other keys than the bundle's own, see `Bundle.with_preprocess`.
        allow_code: run a bundle that may hold code, such as TorchScript, with the rights of this process.
        device: what the model runs on, as `load` takes it.
        runtime: what runs it, likewise; None: that of its format.
        looking: the former name of `preprocess`; it warns.

    Raises:
        ConvsmithError: bundle or data cannot be used, the bundle may hold code and that is not allowed,
            or not one image can be read.
    """
    if looking is not None:
        warnings.warn("evaluate(looking=...) is now preprocess=...", DeprecationWarning, stacklevel=2)
        preprocess = looking
    opened = open_bundle(Path(bundle), None, runtime, device, allow_code=allow_code)
    if preprocess:
        opened = opened.with_preprocess(**preprocess)
    return judge_bundle(opened, data, batch_size, progress, split=split, boundary=boundary).evaluation


def judge_bundle(
    opened: Bundle,
    data: str | Path,
    batch_size: int = 32,
    progress: ProgressCallback = notebook_progress,
    *,
    split: Part | None = None,
    boundary: bool = False,
) -> Judged:
    """Ask a bundle about labelled images, and keep what it says of each; the arguments are those of `evaluate_bundle`.

    Raises:
        ConvsmithError: the data cannot be used, or not one image can be read.
    """
    num_classes = len(opened.labels)
    results = opened.task.new_evaluation(opened.manifest, boundary=boundary)
    unreadable, numbers = list[str](), list[int]()
    part = judged_by(opened.manifest, Path(data), split)
    images = LabelledImages(opened.manifest, part.samples)
    for heard in judge(opened.manifest, [opened.logits], images, batch_size, what="evaluate", progress=progress):
        if heard.targets:
            results.add(heard.said[0], heard.targets)
            numbers += heard.numbers
        unreadable += [f"{error.what}: {error.in_a_line}" for error in heard.left_out]
    if len(unreadable) == len(images):
        raise ConvsmithError(f"no image in {data} can be judged", unreadable[0] if unreadable else "there is none")
    evaluation = Evaluation(
        images=len(images) - len(unreadable),
        held_out=part.held_out,
        is_part=part.is_part,
        figures=opened.task.figures(results),
        labels=opened.labels,
        classes=results.by_class(num_classes),
        confusion=tuple(map(tuple, results.confusion_matrix(num_classes).tolist())),
        unreadable=tuple(unreadable),
        meta=asdict(opened.place) if opened.place else {},
        task=opened.manifest.task,
        intervals=results.intervals(),
    )
    return Judged(opened, evaluation, results, part.samples, np.array(numbers, np.int64))
