"""A bundle whose probabilities are as right as they say, with sets of a stated coverage and an answer `unknown`."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.calibration_report import CalibrationReport, measured
from convsmith.analyze.conformal import fewest_images, fit_sets
from convsmith.analyze.fit_scaling import Scaling, fit_temperature, fit_vector, probabilities
from convsmith.analyze.unknown import CERTAINTY, Costs, by_costs, by_precision, fewest_answers
from convsmith.bundle.calibration import Calibration, Sets, Unknown
from convsmith.bundle.format import PAGE, bundle_folder, check_own, read_files
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.reference import Reference
from convsmith.bundle.write import Card, rewrite_manifest, write_bundle
from convsmith.data.open_data import judged_by
from convsmith.data.parts import Part
from convsmith.deploy.format import open_bundle
from convsmith.deploy.judging import judge
from convsmith.deploy.labelled import LabelledImages
from convsmith.deploy.out import check_out
from convsmith.errors import ConvsmithError, counted, quoted
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.randomness import Stream, counter_generator

logger = logging.getLogger(__name__)

Way = Literal["temperature", "vector"]

_WORDS = {"scaling": "scaling", "thresholds": "thresholds", "kept_back": "the figures of both"}
_ENOUGH = 100  # images of a part: with fewer, what it says of others is hardly known
_MOST = 1 << 27  # logits that are kept, 512 MiB


@dataclass(frozen=True)
class Wanted:
    """The wishes for a calibration.

    Attributes:
        method: one number for all logits, or two for those of each class.
        coverage: of sets; None: there are none.
        precision: of the answers that are not `unknown`; None: it is not what decides about `unknown`.
        costs: which decide about it; None: they do not.
    """

    method: Way = "temperature"
    coverage: float | None = None
    precision: float | None = None
    costs: Costs | None = None

    def __post_init__(self) -> None:
        for name, share in (("coverage", self.coverage), ("precision", self.precision)):
            if share is not None and not 0 < share < 1:
                raise ConvsmithError(f"the {name} is {share:g}", "it is a share between 0 and 1", "Such as 0.95.")
        if self.precision is not None and self.costs is not None:
            raise ConvsmithError("a precision and costs exclude each other", "both decide about `unknown`")
        if self.costs is not None:
            by_costs(self.costs)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that images are shared out into; costs need no images."""
        is_decided = self.coverage is not None or self.precision is not None
        return ("scaling", "thresholds", "kept_back") if is_decided else ("scaling", "kept_back")

    def check(self, bundle: Bundle, images: int) -> None:
        """Raise a ConvsmithError unless the bundle can say that, and so many images can tell how."""
        task, name = bundle.task, bundle.manifest.task
        if self.coverage is not None and not task.says_sets:
            raise ConvsmithError(f"a bundle of {name} says no sets", "each pixel would need one", "Omit --coverage.")
        if (self.precision is not None or self.costs is not None) and not task.says_unknown:
            raise ConvsmithError(
                f"a bundle of {name} says no single class that might be unknown",
                "what of it is too uncertain to be said, its thresholds decide",
                "Omit --precision and costs.",
            )
        needed = [(1, "")]
        if self.coverage is not None:
            needed.append((fewest_images(self.coverage), ": 1 / (1 - coverage) - 1"))
        if self.precision is not None:
            why = f": as many right answers show the precision with {CERTAINTY:.0%} certainty"
            needed.append((fewest_answers(self.precision), why))
        fewest, why = max(needed)
        if images // len(self.parts) < fewest:
            raise ConvsmithError(
                f"{counted(images, 'image')} cannot calibrate the bundle so",
                f"{len(self.parts)} parts are made of them, and each needs {counted(fewest, 'image')}{why}",
                "Give more images that had no part in the training, or ask for less.",
            )


@dataclass(frozen=True)
class _Evidence:
    """Answers of a model beside the truth.

    Attributes:
        logits: [M, K], as the model gives them.
        truth: which classes are true, [M, K].
        parts: the part that each row belongs to, [M].
        images: how many images each part has.
    """

    logits: NDArray[np.float32]
    truth: NDArray[np.bool_]
    parts: NDArray[np.int64]
    images: dict[str, int]

    def of(self, part: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Logits and truth of one part."""
        there = self.parts == list(self.images).index(part)
        return self.logits[there].astype(np.float64), self.truth[there]


def calibrate(
    bundle: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    *,
    method: Way = "temperature",
    coverage: float | None = None,
    precision: float | None = None,
    cost_wrong: float | None = None,
    cost_unknown: float | None = None,
    split: Part | None = None,
    batch_size: int = 32,
    allow_code: bool = False,
    device: str = "auto",
    runtime: str | None = None,
    progress: ProgressCallback = notebook_progress,
) -> CalibrationReport:
    """Let a bundle's probabilities say how often it is right, and let it say sets and `unknown`.

    The labelled images are shared out, those of each class evenly, and always in the same way: by one part the logits
    are scaled, by another one thresholds are chosen, and what both give is measured on the third, which is kept back.

    Args:
        bundle: the bundle's folder, of any format, or the run that it is in.
        data: as `evaluate` takes them; the images must have had no part in the training.
        out: where the calibrated bundle is written; None: the bundle itself, whose other files stay as they are.
        method: `temperature` multiplies all logits with one number, which changes no decision; `vector` has two numbers
            for each class.
        coverage: let the bundle answer with sets of classes, which hold the true class with this probability.
        precision: let it answer `unknown` as rarely as allows that this share of the other answers is right, with 95 %
            certainty.
        cost_wrong: what a wrong answer costs: let it answer `unknown` where that costs less than being wrong so often.
        cost_unknown: what `unknown` costs, in the same measure.
        split: the part of the data to take, in place of the one for validation.
        batch_size: images of a classifier in one forward pass.
        allow_code: run a bundle that may hold code, such as TorchScript, with the rights of this process.
        device: what the model runs on, as `load` takes it.
        runtime: what runs it, likewise.
        progress: called with how many images are done, of how many.

    Raises:
        ConvsmithError: bundle, data or what is asked for do not go together, or there are too few images.

    Examples:
        >>> report = cs.calibrate("runs/photos", "photos/", "calibrated")
        >>> report.method
        'temperature'
    """
    if (cost_wrong is None) != (cost_unknown is None):
        raise ConvsmithError("one cost alone decides nothing", "--cost-wrong and --cost-unknown belong together")
    costs = None if cost_wrong is None or cost_unknown is None else Costs(cost_wrong, cost_unknown)
    wanted = Wanted(method, coverage, precision, costs)
    if out is None:
        check_own(bundle)
    source = bundle_folder(Path(bundle))
    if out is not None:
        check_out(Path(out), (source,), Path(data))
    opened = open_bundle(source, None, runtime, device, allow_code=allow_code)
    if PAGE in opened.manifest.files:
        raise ConvsmithError(
            f"{source} has a page, which answers by what it was exported with",
            fix="Calibrate the bundle that it was made of, and export that again.",
        )
    found = judged_by(opened.manifest, Path(data), split)
    wanted.check(opened, len(found.samples))
    if opened.manifest.data_digest and (split == "train" or not found.is_part):
        logger.warning("among these images are some that the bundle was trained on: of these it is too sure")
    images = LabelledImages(opened.manifest.without_calibration(), found.samples)
    evidence = _gathered(opened, images, wanted, batch_size, progress)
    _look(opened, evidence)
    calibration, remarks = _fitted(opened, evidence, wanted)
    before, truth = evidence.of("kept_back")
    figures = measured(before, truth, calibration, opened.task.exclusive)
    calibration = calibration.model_copy(update={"measured": figures})
    reference = _reference(opened, evidence, calibration)
    _write(source, opened, calibration, reference, None if out is None else Path(out))
    return CalibrationReport(str(source if out is None else out), method, opened.labels, calibration, remarks)


def _gathered(
    opened: Bundle, images: LabelledImages, wanted: Wanted, batch_size: int, progress: ProgressCallback
) -> _Evidence:
    """Ask the bundle about all images."""
    task, classes, parts = opened.task, len(opened.labels), wanted.parts
    part_of = _dealt(images.samples.targets, len(parts))
    logits, truth, rows = [], [], []
    counts, kept, first_error = dict.fromkeys(parts, 0), 0, ""
    for heard in judge(
        images.manifest,
        [opened.logits],
        images,
        batch_size,
        what="calibrate",
        progress=progress,
        ask=task.ask_scores,
    ):
        for error in heard.left_out:
            logger.warning("left out: %s: %s", error.what, error.in_a_line)
            first_error = first_error or f"{error.what}: {error.in_a_line}"
        for number, scores, target in zip(heard.numbers, heard.said[0], heard.targets, strict=True):
            one, true = task.pair(scores, target, classes)
            kept += one.size
            if kept > _MOST:
                raise ConvsmithError(
                    f"{counted(len(images), 'image')} of {counted(classes, 'class')} do not fit into memory at once",
                    f"the logits of {_MOST // classes:,} images or pixels are enough",
                    "Give a part of the data.",
                )
            logits.append(one)
            truth.append(true)
            rows.append(np.full(len(one), part_of[number]))
            counts[parts[part_of[number]]] += 1
    if not logits:
        raise ConvsmithError("no image of the data can be judged", first_error)
    wanted.check(opened, sum(counts.values()))
    return _Evidence(np.concatenate(logits), np.concatenate(truth), np.concatenate(rows), counts)


def _dealt(targets: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """The part of each image, [N]: those of each target are shared out evenly, in an order of counter-based draws."""
    order = counter_generator(Stream.CALIBRATE, 0).permutation(len(targets))
    by_target = order[np.argsort(targets[order], kind="stable")]
    dealt = np.empty(len(targets), np.int64)
    dealt[by_target] = np.arange(len(targets)) % parts
    return dealt


def _look(opened: Bundle, evidence: _Evidence) -> None:
    """Warn of parts that say little."""
    count, part = min((count, part) for part, count in evidence.images.items())
    if count < _ENOUGH:
        logger.warning("%s for %s: what they say of others is hardly known", counted(count, "image"), _WORDS[part])
    absent = [opened.labels[k] for k in np.flatnonzero(~evidence.truth.any(axis=0))]
    if absent:
        logger.warning("no image has the classes %s: nothing is promised for these", quoted(absent))


def _fitted(opened: Bundle, evidence: _Evidence, wanted: Wanted) -> tuple[Calibration, tuple[str, ...]]:
    """The calibration without what is measured, and what there is to say of it."""
    exclusive, remarks = opened.task.exclusive, []
    logits, truth = evidence.of("scaling")
    factor = fit_temperature(logits, truth, exclusive)
    if factor is None:
        remarks.append("nothing is scaled: all that fit is answered right, so that nothing says how sure is too sure")
    scaling = Scaling() if factor is None else Scaling((factor,))
    if wanted.method == "vector" and factor is not None:
        lacking = [opened.labels[k] for k in np.flatnonzero(~truth.any(axis=0))]
        if lacking:
            raise ConvsmithError(
                "vector scaling needs images of each class",
                f"there are too few of {quoted(lacking)}",
                "Give more of these, or take --method temperature.",
            )
        scaling = fit_vector(logits, truth, exclusive, factor)
    calibration = Calibration(weights=scaling.weights, bias=scaling.bias, images=evidence.images, measured={})
    sets: Sets | None = None
    unknown: Unknown | None = by_costs(wanted.costs) if wanted.costs else None
    if "thresholds" in wanted.parts:
        logits, truth = evidence.of("thresholds")
        p = probabilities(calibration.scaled(logits), exclusive)
        if wanted.coverage is not None:
            sets = fit_sets(p, truth, wanted.coverage)
        if wanted.precision is not None:
            unknown = by_precision(p.max(axis=1), truth[np.arange(len(p)), p.argmax(axis=1)], wanted.precision)
    return calibration.model_copy(update={"sets": sets, "unknown": unknown}), tuple(remarks)


def _reference(opened: Bundle, evidence: _Evidence, calibration: Calibration) -> Reference | None:
    """The reference of the calibrated bundle: how sure answers are has changed, and is known of whole images alone."""
    known = opened.manifest.reference
    if known is None or not opened.task.one_size:
        return known and known.with_confidence([])
    p = probabilities(calibration.scaled(evidence.logits.astype(np.float64)), opened.task.exclusive)
    return known.with_confidence(p.max(axis=1))


def _write(
    source: Path, opened: Bundle, calibration: Calibration, reference: Reference | None, out: Path | None
) -> None:
    manifest = opened.manifest
    card = replace(
        Card.of(manifest),
        calibration=calibration,
        reference=reference,
        created_with={**manifest.created_with, "convsmith": version("convsmith")},
    )
    if out is None:
        rewrite_manifest(source, card, manifest.files)
    else:
        write_bundle(out, read_files(source, manifest), card)
