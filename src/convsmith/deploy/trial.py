"""A model against the float model that it was made of, on images that are the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.figures.calibration_error import CalibrationGaps, judged_probabilities
from convsmith.bundle.figures.certainty_intervals import Interval
from convsmith.bundle.format import Manifest
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.bundle.task import Results, Said, find_task
from convsmith.deploy.certainty import GROUPS, drop_interval, merged
from convsmith.deploy.judging import Inputs, judge
from convsmith.deploy.labelled import LabelledImages, metric_of
from convsmith.deploy.parity import Parity
from convsmith.errors import ConvsmithError
from convsmith.progress import ProgressCallback

_STRIDE = 8  # of a map, each eighth row and column is compared
_PIXELS_OF = 32  # images, for the calibration error of masks
_KEPT = 1 << 26  # logits that are compared, 256 MiB; those of further images only count in the metrics


@dataclass(frozen=True)
class Outcome:
    """The answers of a model to some images.

    Attributes:
        images: how many were read.
        groups: its answers beside the truth, the images shared out among so many groups.
        logits: of classes [N, K], or [N, K, h, w] of each eighth row and column of what the model looked at; of as many
            images as memory has room for.
        decisions: its answers: see `Task.decisions`.
        embeddings: [N, D] of the same images as the logits, where the bundle has them; of a mask, of each look.
        ece: the calibration error of its probabilities; None of masks, see `pixel_errors`, and of what is `joined`.
    """

    images: int
    groups: list[Results]
    logits: list[NDArray[np.float32]]
    decisions: list[NDArray[Any]]
    embeddings: list[NDArray[np.float32]] = field(default_factory=list)
    ece: float | None = None

    @cached_property
    def results(self) -> Results:
        """Its answers beside the truth, of all images."""
        return merged(self.groups)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Fractions, by name."""
        return self.results.compute()


@dataclass(frozen=True)
class Verdict:
    """How far a model is from its float form.

    Attributes:
        drop: points of `metric_of` that it loses; negative where it gains.
        top1_agreement: share of images or pixels that both give the same class, 0 to 1.
        snr_db: signal-to-noise ratio of the logits, 200 where they are equal.
        max_abs_diff, mean_abs_diff: of the logits.
        interval: see `drop_interval`.
    """

    drop: float
    top1_agreement: float
    snr_db: float
    max_abs_diff: float
    mean_abs_diff: float
    interval: Interval | None = None


def run_all(manifest: Manifest, content: bytes, images: Inputs, progress: ProgressCallback, what: str) -> Outcome:
    """Ask a model about images.

    Args:
        manifest: of the float bundle.
        content: an ONNX model.
        images: at least one.
        progress: called with how many are done.
        what: what that is called.

    Raises:
        ConvsmithError: not one image can be read, or the model gives no answer for one that can.
    """
    runtime, task = OnnxRuntime(content), find_task(manifest.task)
    logits, embeddings = list[NDArray[np.float32]](), list[NDArray[np.float32]]()
    kept = 0

    def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal kept
        answer, rows = runtime.run_with_embeddings(batch) if manifest.embeddings else (runtime.run(batch), None)
        if kept < _KEPT:
            if rows is not None:
                embeddings.append(rows)
            logits.append(_thinned(answer))
            kept += logits[-1].size
        return answer

    groups = [task.new_results(manifest) for _ in range(GROUPS)]
    decisions: list[NDArray[Any]] = []
    gaps = CalibrationGaps()
    progress(what, 0, len(images))
    for heard in judge(manifest, [run], images, what=what, progress=progress):
        heard.require_answers()
        (said,) = heard.said
        for i in range(min(GROUPS, len(said))):
            groups[(len(decisions) + i) % GROUPS].add(said[i::GROUPS], heard.targets[i::GROUPS])
        decisions += [task.decisions(one, manifest) for one in said]
        if task.one_size:
            _add_gaps(gaps, manifest, said, heard.targets)
    if not decisions:
        raise ConvsmithError("the model cannot be judged", "not one image can be read", "Repair or replace them.")
    return Outcome(len(decisions), groups[: len(decisions)], logits, decisions, embeddings, gaps.compute())


def joined(one: Outcome, other: Outcome) -> Outcome:
    """The answers of a model to some images and then to others, shared out among groups as those of one call."""
    images = one.images + other.images
    groups = [one.results.empty() for _ in range(min(GROUPS, images))]
    for start, part in ((0, one), (one.images, other)):
        for i, group in enumerate(part.groups):
            groups[(start + i) % GROUPS].merge(group)
    said, embeddings = one.decisions + other.decisions, one.embeddings + other.embeddings
    return Outcome(images, groups, one.logits + other.logits, said, embeddings)


def pixel_errors(
    manifest: Manifest, models: Sequence[bytes], images: LabelledImages, progress: ProgressCallback
) -> list[float | None]:
    """The calibration error of the pixels of models that give masks: of each eighth row and column of some images.

    Args:
        manifest: of the float bundle.
        models: ONNX models, which are asked about the same images.
        images: of which up to 32 are taken, evenly.
        progress: called with how many are done.
    """
    count = min(_PIXELS_OF, len(images))
    some = images.select([i * len(images) // count for i in range(count)])
    found = [CalibrationGaps() for _ in models]
    asked, task = [OnnxRuntime(content).run for content in models], find_task(manifest.task)
    for heard in judge(manifest, asked, some, what="calibration", progress=progress, ask=task.ask_scores):
        for gaps, said in zip(found, heard.said, strict=True):
            _add_gaps(gaps, manifest, said, heard.targets)
    return [gaps.compute() for gaps in found]


def _add_gaps(gaps: CalibrationGaps, manifest: Manifest, said: Sequence[Said], targets: Sequence[Any]) -> None:
    """Take in what a model decides by, as `Task.ask_scores` gives it, and what is true."""
    task = find_task(manifest.task)
    for scores, target in zip(said, targets, strict=True):
        gaps.add(*judged_probabilities(*task.pair(scores, target, len(manifest.labels)), task.exclusive))


def _thinned(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each eighth row and column of maps [N, K, H, W]; logits of images as they are."""
    return logits[..., ::_STRIDE, ::_STRIDE].copy() if logits.ndim == 4 else logits


def compare(manifest: Manifest, exact: Outcome, other: Outcome) -> Verdict:
    """The other's distance from the exact one; both are of the same images."""
    metric, apart = metric_of(manifest), Parity(find_task(manifest.task).exclusive)
    for one, two in zip(exact.logits, other.logits, strict=True):
        apart.add(one, two)
    same = [one == two for one, two in zip(exact.decisions, other.decisions, strict=True)]
    return Verdict(
        drop=100 * (exact.metrics[metric] - other.metrics[metric]),
        top1_agreement=sum(int(part.sum()) for part in same) / sum(part.size for part in same),
        **apart.distance(),
        interval=drop_interval(metric, exact.groups, other.groups, exact.images),
    )


def embeddings_apart(exact: Outcome, other: Outcome) -> dict[str, dict[str, float]]:
    """How far the embeddings of both are apart: the key `embeddings`, or nothing where there are none."""
    apart = Parity(exclusive=False)
    for one, two in zip(exact.embeddings, other.embeddings, strict=True):
        apart.add(one, two)
    return {"embeddings": apart.distance()} if exact.embeddings else {}
