"""A bundle against labelled images. Needs no torch."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.image_facts import ImageFacts, facts_of
from convsmith.analyze.slice_factors import column_factor, folder_factors, look_factors, without_those_of_classes
from convsmith.analyze.slices import find_slices
from convsmith.analyze.write_rows import check_file, write_rows
from convsmith.bundle.figures.evaluation import Evaluation
from convsmith.bundle.figures.slices import Slices
from convsmith.bundle.images.decode import Picture
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.task import EvaluationResults
from convsmith.data.dataset import Samples
from convsmith.data.open_data import LabelledPart, judged_by
from convsmith.data.parts import Part
from convsmith.data.tables.cells import cells_of, check_column
from convsmith.deploy.format import open_bundle
from convsmith.deploy.judging import judge
from convsmith.deploy.labelled import LabelledImages
from convsmith.errors import ConvsmithError, printable
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
        facts: how each of these looks.
    """

    bundle: Bundle
    evaluation: Evaluation
    results: EvaluationResults
    samples: Samples
    numbers: NDArray[np.int64]
    facts: tuple[ImageFacts, ...]

    def names(self) -> Iterator[str]:
        """The name of each image that was judged."""
        return map(self.samples.name, self.numbers.tolist())

    def rows(self) -> Iterator[dict[str, Any]]:
        """The answer to each image and what is true, with its name and how it looks, as plain values."""
        said = self.results.rows(self.bundle.labels)
        for name, row, facts in zip(self.names(), said, self.facts, strict=True):
            yield {"name": printable(name), **row, **facts._asdict()}

    def slices(self, columns: Sequence[str] = ()) -> Slices:
        """Find the parts of the images that the bundle is worse on; `columns` of their table tell some apart.

        Raises:
            ConvsmithError: the images are not those of a table, or it has no such column.
        """
        classes = self.results.images_of_classes(len(self.bundle.labels))
        factors = [*folder_factors([*self.names()]), *look_factors(self.facts)]
        for column in columns:
            cells = cells_of(self.samples, column)
            if made := column_factor(column, [cells[number] for number in self.numbers.tolist()]):
                factors.append(made)
        return find_slices(
            self.results.score,
            self.results.scores(),
            dict(zip(self.bundle.labels, classes, strict=True)),
            without_those_of_classes(factors, classes),
        )

    def with_slices(self, columns: Sequence[str] = ()) -> Judged:
        """The same, with the `slices` in its evaluation; see there."""
        return replace(self, evaluation=replace(self.evaluation, slices=self.slices(columns)))

    def select(self, places: NDArray[np.int64]) -> Judged:
        """The answers at these places among those that were judged, in this order."""
        results = self.results.select(places)
        numbers, facts = self.numbers[places], tuple(self.facts[place] for place in places.tolist())
        evaluation = replace(self.evaluation, images=len(places), **_counted(self.bundle, results))
        return Judged(self.bundle, evaluation, results, self.samples, numbers, facts)


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
    columns: Sequence[str] = (),
    out: str | Path | None = None,
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
        columns: of the data's table, whose values are compared among the `slices`.
        out: a file for what the bundle says of each image; see `write_rows`.

    Raises:
        ConvsmithError: bundle or data cannot be used, the bundle may hold code and that is not allowed,
            not one image can be read, there is no such column, or the file cannot be written.

    Examples:
        >>> judged = cs.evaluate("runs/photos", "photos/")
        >>> judged.images, judged.top1
        (12, 1.0)
    """
    if looking is not None:
        warnings.warn("evaluate(looking=...) is now preprocess=...", DeprecationWarning, stacklevel=2)
        preprocess = looking
    if out is not None:
        check_file(Path(out), Path(data))
    opened = open_bundle(Path(bundle), None, runtime, device, allow_code=allow_code)
    if preprocess:
        opened = opened.with_preprocess(**preprocess)
    opened.task.new_evaluation(opened.manifest, boundary=boundary)  # refuses before the data are opened
    part = judged_by(opened.manifest, Path(data), split)
    for column in columns:
        check_column(part.samples, column)
    judged = judge_part(opened, part, batch_size, progress, boundary=boundary, data=data)
    if out is not None:
        write_rows(Path(out), judged.rows(), opened.labels)
    return judged.with_slices(columns).evaluation


def judge_bundle(
    opened: Bundle, data: str | Path, batch_size: int = 32, progress: ProgressCallback = notebook_progress
) -> Judged:
    """Ask a bundle about labelled images, and keep what it says of each; the arguments are those of `evaluate_bundle`.

    Raises:
        ConvsmithError: the data cannot be used, or not one image can be read.
    """
    part = judged_by(opened.manifest, Path(data))
    return judge_part(opened, part, batch_size, progress, data=data).with_slices()


def judge_part(
    opened: Bundle,
    part: LabelledPart,
    batch_size: int = 32,
    progress: ProgressCallback = notebook_progress,
    *,
    boundary: bool = False,
    data: str | Path = "the data",
    until: float = math.inf,
) -> Judged:
    """Ask a bundle about samples that are open already; see `judge_bundle`.

    Args:
        opened, batch_size, progress, boundary: those of `evaluate_bundle`.
        part: the samples.
        data: what an error calls them.
        until: when no further batch is begun, by `time.monotonic`, once an image has been judged.
    """
    results = opened.task.new_evaluation(opened.manifest, boundary=boundary)
    unreadable, numbers, facts = list[str](), list[int](), dict[int, ImageFacts]()

    def notice(number: int, picture: Picture) -> None:
        facts[number] = facts_of(picture)

    images = LabelledImages(opened.manifest, part.samples, notice=notice)
    for heard in judge(opened.manifest, [opened.logits], images, batch_size, what="evaluate", progress=progress):
        if heard.targets:
            results.add(heard.said[0], heard.targets)
            numbers += heard.numbers
        unreadable += [f"{error.what}: {error.in_a_line}" for error in heard.left_out]
        if numbers and time.monotonic() > until:
            break
    if len(unreadable) == len(images):
        raise ConvsmithError(f"no image in {data} can be judged", unreadable[0] if unreadable else "there is none")
    evaluation = Evaluation(
        images=len(numbers),
        held_out=part.held_out,
        is_part=part.is_part,
        labels=opened.labels,
        unreadable=tuple(unreadable),
        meta=asdict(opened.place) if opened.place else {},
        task=opened.manifest.task,
        **_counted(opened, results),
    )
    of_judged = tuple(facts[number] for number in numbers)
    return Judged(opened, evaluation, results, part.samples, np.array(numbers, np.int64), of_judged)


def _counted(opened: Bundle, results: EvaluationResults) -> dict[str, Any]:
    """The fields of an `Evaluation` that the answers make."""
    num_classes = len(opened.labels)
    return {
        "figures": opened.task.figures(results),
        "classes": results.by_class(num_classes),
        "confusion": tuple(map(tuple, results.confusion_matrix(num_classes).tolist())),
        "intervals": results.intervals(),
    }
