"""The answers of several models to the same images. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from convsmith.analyze.evaluate import Judged, judge_part
from convsmith.analyze.paired import Gap, mcnemar, paired_bootstrap
from convsmith.analyze.write_rows import SCORES
from convsmith.bundle.figures.certainty_intervals import draws_for
from convsmith.bundle.predictor import Bundle
from convsmith.data.open_data import judged_by
from convsmith.data.parts import Part
from convsmith.errors import ConvsmithError, counted, printable
from convsmith.progress import ProgressCallback

_FEWEST_DRAWS = 400  # so that p may be as low as 0.005


@dataclass(frozen=True)
class SameImages:
    """Models that have judged the same images, in the same order.

    Attributes:
        judged: what each says of them.
        names: of the images, as printable text.
        notes: lines worth reading.
    """

    judged: tuple[Judged, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Gaps:
    """How far a model is from the first; see `Difference`."""

    p: float | None
    test: str
    gaps: Mapping[str, Gap]
    better_images: tuple[str, ...]
    worse_images: tuple[str, ...]


def judge_same_images(
    bundles: Sequence[Bundle], data: Path, split: Part | None, batch_size: int, progress: ProgressCallback
) -> SameImages:
    """Judge each bundle by the images that all may be judged by: those held out from the training of each of them.

    Raises:
        ConvsmithError: there is none, or the data cannot be used.
    """
    parts = [judged_by(bundle.manifest, data, split) for bundle in bundles]
    common = reduce(np.intersect1d, [part.samples.names for part in parts])
    if not len(common):
        raise ConvsmithError(
            f"no image of {data} is among those that all models may be judged by",
            "each is judged by images that its training held out, where it was trained on these data",
            "Give images that none of them has learned from.",
        )
    notes = []
    if left := max(len(part.samples) for part in parts) - len(common):
        notes.append(f"left out: {counted(left, 'image')} that not all models may be judged by")
    judged = []
    for bundle, part in zip(bundles, parts, strict=True):
        order = np.argsort(part.samples.names)
        places = order[np.searchsorted(part.samples.names[order], common)]
        judged.append(judge_part(bundle, part.select(places), batch_size, progress))
        if part.is_part and not part.held_out:
            notes.append(f"{printable(bundle.path)}: whether it has learned from these images is not known")
    read = reduce(np.intersect1d, [it.numbers for it in judged])
    if failed := len(common) - len(read):
        notes.append(f"left out: {counted(failed, 'image')} that cannot be read, or that a model gives no answer for")
    shown = np.argsort([judged[0].samples.name(number) for number in read.tolist()], kind="stable")
    same = tuple(it.select(np.searchsorted(it.numbers, read)[shown]) for it in judged)
    return SameImages(same, tuple(map(printable, same[0].names())), tuple(notes))


def measure_gaps(images: SameImages, metric: str, number: int) -> Gaps:
    """How far the model of a number is above the first."""
    first, other = images.judged[0].results, images.judged[number].results
    count, classes = len(images.names), len(images.judged[0].bundle.labels)
    gaps = paired_bootstrap(first.weigher(), other.weigher(), count, draws_for(count * classes, _FEWEST_DRAWS))
    scores = other.scores() - first.scores()
    order = np.argsort(-np.abs(scores), kind="stable")
    better, worse = ([images.names[i] for i in order if sign * scores[i] > 0] for sign in (1, -1))
    p, test = (gaps[metric].p if metric in gaps else None), "bootstrap"
    if metric == first.score:
        p, test = mcnemar(len(worse), len(better)), "mcnemar"
    return Gaps(p, test, gaps, tuple(better), tuple(worse))


def rows_side_by_side(images: SameImages) -> Iterator[dict[str, Any]]:
    """A row for each image: what each model says of it, its names with the number of the model behind."""
    of_models = [judged.results.rows(judged.bundle.labels) for judged in images.judged]
    for name, *rows in zip(images.names, *of_models, strict=True):
        row = {"name": name}
        if "true" in rows[0]:
            row["true"] = rows[0]["true"]
        for number, said in enumerate(rows, 1):
            row |= {f"{key} {number}": value for key, value in said.items() if key not in ("true", SCORES)}
        yield row
