"""The validation images in the report at the end of a training: as many as there is time for."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from convsmith.analyze.evaluate import judge_part
from convsmith.analyze.report.facts import Facts
from convsmith.analyze.report.judge_facts import facts_with, show_worst
from convsmith.analyze.report.make_report import speed_of
from convsmith.analyze.report.pictures import draw_confusion, draw_errors
from convsmith.analyze.spread import spread
from convsmith.data.dataset import DataSet
from convsmith.data.open_data import LabelledPart
from convsmith.deploy.format import open_bundle
from convsmith.progress import no_progress
from convsmith.training.run import Run

logger = logging.getLogger(__name__)

# Shares of the time in which images are judged, of one size and of any; half of what is left when all is counted goes
# into showing the worst, whose heat takes long where they are of one size.
_JUDGED, _JUDGED_LARGE = 0.3, 0.6
_BATCH = 8  # images between two looks at the clock
_SPEED = 5.0  # seconds that measuring it takes
_TOLD = 20.0  # seconds that pass in silence


def with_images(facts: Facts, run: Run, dataset: DataSet | None, seconds: float) -> Facts:
    """The facts, and what the validation images say of the run's bundle; their pictures are written into the run.

    Where there is time to judge all of them, they are what `report --data` gives, else those of a part, taken evenly.

    Args:
        facts: of the run.
        run: with its bundle.
        dataset: what it was trained on; None: it is not known.
        seconds: that the images may take. What is in progress when they have passed still comes to its end.

    Raises:
        ConvsmithError: the bundle or the data cannot be used.
    """
    draw_confusion(run)
    if dataset is None or not len(dataset.val):
        return facts
    if seconds > _TOLD:
        logger.info("making the report, in %.0f seconds or less", seconds)
    bundle, images = open_bundle(run.bundle), len(dataset.val)
    part = LabelledPart(dataset.val, held_out=True, is_part=True).select(spread(images))
    begun = time.monotonic()
    end, share = begun + seconds, _JUDGED if bundle.task.one_size else _JUDGED_LARGE
    judged = judge_part(bundle, part, _BATCH, no_progress, until=begun + share * seconds).with_slices()
    worst = show_worst(judged, run.path, (time.monotonic() + end) / 2)
    draw_errors(run, worst)
    found = facts_with(judged, worst, dataset.train, no_progress, end)
    is_all = len(judged.numbers) + len(judged.evaluation.unreadable) == images
    facts = replace(facts, judged=found) if is_all else replace(facts, sample=found)
    if time.monotonic() + _SPEED < end:
        facts = replace(facts, benchmark=speed_of([run.bundle], None, no_progress))
    return replace(facts, missing=tuple(_missing(facts, images)))


def _missing(facts: Facts, images: int) -> list[str]:
    """A line on that which the page lacks for want of time, and how to get it; none where it lacks nothing."""
    lacking = []
    if facts.sample:
        lacking.append(f"{facts.sample.evaluation.images:,} of {images:,} validation images are judged here")
    if facts.benchmark is None:
        lacking.append("the speed is not measured")
    if not lacking:
        return []
    return [f"The end of a training takes little time: {' and '.join(lacking)}. All of it: {facts.commands[-1]}"]
