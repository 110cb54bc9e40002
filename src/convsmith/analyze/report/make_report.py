"""The report: gather what there is to say, and write the page and the numbers."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from convsmith.analyze.benchmark import Benchmark, benchmark
from convsmith.analyze.evaluate import judge_bundle
from convsmith.analyze.house_page import check_page
from convsmith.analyze.report.facts import Facts
from convsmith.analyze.report.gather import facts_of_bundle, facts_of_run, with_data
from convsmith.analyze.report.judge_facts import judge_facts
from convsmith.analyze.report.ladder import RESULTS, facts_of_ladder, step_runs
from convsmith.analyze.report.page import page
from convsmith.bundle.format import MANIFEST, bundle_folder, holds_run, read_manifest
from convsmith.bundle.task import find_task
from convsmith.deploy.format import open_bundle
from convsmith.errors import ConvsmithError
from convsmith.hub import HUB
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.storage import write_file
from convsmith.training.run import Run
from convsmith.waiting import read_file

logger = logging.getLogger(__name__)

_SECONDS = 0.5  # of each row of the benchmark
_BATCHES = (1, 8)  # of images of many sizes 1: they take long


def report(
    place: str | Path,
    data: str | Path | None = None,
    out: str | Path | None = None,
    *,
    batch_size: int = 32,
    progress: ProgressCallback = notebook_progress,
) -> Facts:
    """Write one page about a run, a bundle or a ladder, which opens offline, and all its numbers as JSON beside it.

    Args:
        place: a run directory, a bundle's folder, or a directory of `ablate`.
        data: images to judge by, as `evaluate` takes them: they give figures with intervals, the worst errors,
            reliability, thresholds and speed; None: those of the report that a run has since its training, or else
            the report says what the place itself knows.
        out: the page; None: `report.html` in a run or a ladder, `report.html` here of a bundle. The numbers go beside
            it, with the ending `.json`.
        batch_size: images of a classifier in one forward pass.
        progress: called with what is done.

    Raises:
        ConvsmithError: there is nothing to report on, or the data cannot be used.

    Examples:
        >>> facts = cs.report("runs/photos", "photos/", "report.html")
        >>> Path("report.html").is_file()
        True
    """
    check_page(page_of(place, out))
    facts = _known(Path(place))
    known = _Known.of(page_of(place)) if facts.kind == "run" else _Known()
    data = known.data if data is None else data
    if data is not None:
        facts = _judged(facts, Path(data), batch_size, progress)
    elif out is None and known.shows_images:
        logger.warning(
            "%s stays as it is: it shows images, which are not where they were; --data PATH says where they are now, "
            "and --out writes a page without them", page_of(place),
        )  # fmt: skip
        return facts
    write_report(facts, page_of(place, out))
    return facts


class _Known(NamedTuple):
    """Facts about images that the report of a run says.

    Attributes:
        data: where they are; None: they are not there any more, or in no file.
        shows_images: whether there are some on the page.
    """

    data: Path | None = None
    shows_images: bool = False

    @classmethod
    def of(cls, page: Path) -> _Known:
        """Read them from the numbers beside a page; nothing where there are none that can be read."""
        try:
            said = json.loads(read_file(page.with_suffix(".json")))
            data = None if said["data"] is None else Path(str(said["data"]))
            judged = [said["evaluation"], said.get("sample")]
        except (OSError, ValueError, KeyError, TypeError):
            return cls()
        return cls(data if data is not None and data.exists() else None, page.is_file() and any(judged))


def page_of(place: str | Path, out: str | Path | None = None) -> Path:
    """Where the page goes."""
    inside = Path(place) if _is_ladder(Path(place)) or _is_run(Path(place)) else Path()
    return inside / "report.html" if out is None else Path(out)


def write_report(facts: Facts, out: Path) -> None:
    """Write the page, and the numbers beside it, unless they say just that already."""
    numbers = json.dumps(_strict(facts.to_dict()), allow_nan=False, ensure_ascii=False) + "\n"
    for file, content in ((out.with_suffix(".json"), numbers), (out, page(facts))):
        encoded = content.encode("utf-8", "backslashreplace")
        if not file.is_file() or file.read_bytes() != encoded:
            write_file(file, encoded)


def speed_of(bundles: list[Path], images: Path | None, progress: ProgressCallback) -> Benchmark:
    """How long bundles of one task take here, in some seconds."""
    one_size = find_task(read_manifest(bundles[0]).task).one_size
    batches = _BATCHES if one_size else _BATCHES[:1]
    return benchmark(bundles, batches=batches, images=images, seconds=_SECONDS, progress=progress)


def _is_ladder(place: Path) -> bool:
    return (place / RESULTS).is_file()


def _is_run(place: Path) -> bool:
    return holds_run(place) and not (place / MANIFEST).is_file()


def _known(place: Path) -> Facts:
    """The facts that a place knows of itself."""
    if _is_ladder(place):
        return facts_of_ladder(place)
    if _is_run(place):
        return facts_of_run(Run(place))
    if not place.exists() and not str(place).startswith(HUB):
        raise ConvsmithError(f"{place} does not exist", fix="Name a run, a bundle, or a directory of `ablate`.")
    return facts_of_bundle(place)


def _judged(facts: Facts, data: Path, batch_size: int, progress: ProgressCallback) -> Facts:
    place = Path(facts.place)
    if facts.kind == "ladder":
        steps = []
        for step in facts.steps:
            run = next((run for run in step_runs(place / step.name) if run.bundle.is_dir()), None)
            if run is not None:
                judged = judge_bundle(open_bundle(run.bundle), data, batch_size, progress)
                step = replace(step, evaluation=judged.evaluation)
            steps.append(step)
        return replace(facts, data=str(data), steps=tuple(steps), missing=())
    judged = judge_bundle(open_bundle(bundle_folder(place)), data, batch_size, progress)
    speed = speed_of([bundle_folder(place)], None, progress)
    found = judge_facts(judged, place, data, progress)
    return replace(with_data(facts, data), judged=found, benchmark=speed, missing=())


def _strict(value: Any) -> Any:
    """Plain values for JSON: null in place of a number that is not finite."""
    if isinstance(value, dict):
        return {str(key): _strict(it) for key, it in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(it) for it in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
