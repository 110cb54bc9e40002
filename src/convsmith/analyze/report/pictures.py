"""Pictures of a finished run, for its report, TensorBoard and the trackers: the confusion, and the worst errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.contact_sheet import Tile, write_sheet
from convsmith.analyze.evaluate import judge_part
from convsmith.analyze.plots import write_plot
from convsmith.analyze.report.confusion import shares_of_true
from convsmith.analyze.report.facts import JudgedFacts
from convsmith.analyze.report.judge_facts import legend_of, worst_first, worst_images
from convsmith.bundle.format import read_manifest
from convsmith.data.open_data import judged_by
from convsmith.deploy.format import open_bundle
from convsmith.progress import no_progress
from convsmith.training.validation_file import read_validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from convsmith.training.run import Run

_ASKED, _ASKED_OF_LARGE = 64, 12  # validation images, evenly of all; of those that may be large fewer
_SHOWN = 12  # of the worst ones, and tiles of a picture
_NAMED = 40  # classes whose names have room beside a matrix


def draw_pictures(run: Run, data: Path) -> JudgedFacts:
    """Write `confusion.png` of the run's own validation, and `errors.png` of the worst of some validation images.

    Returns:
        The facts about these images.

    Raises:
        ConvsmithError: the bundle or the data cannot be used.
    """
    run.pictures.mkdir(exist_ok=True)
    manifest = read_manifest(run.bundle)
    found = read_validation(run.path, manifest.metrics, len(manifest.labels))
    if found is not None:
        counts = np.asarray(found["confusion"])
        write_plot(run.pictures / "confusion.png", lambda axes: _draw_confusion(axes, counts, manifest.labels))
    bundle, part = open_bundle(run.bundle), judged_by(manifest, data)
    most = min(_ASKED if bundle.task.one_size else _ASKED_OF_LARGE, len(part.samples))
    chosen = np.arange(most) * len(part.samples) // most
    judged = judge_part(bundle, part.select(chosen), progress=no_progress)
    worst, tiles = [], []
    for image, shown in worst_images(judged, worst_first(judged, _SHOWN)):
        worst.append(image)
        tiles += [Tile(pixels, _caption(what, image.said)) for what, pixels in shown]
    if tiles:
        write_sheet(tiles[:_SHOWN], run.pictures / "errors.png")
    return JudgedFacts(judged.evaluation, (), tuple(worst), legend_of(judged))


def _caption(what: str, said: Mapping[str, Any]) -> str:
    """Class and answer where an image has them, as in `cat: dog`; else the name of the picture."""
    if "true" not in said:
        return what
    return ": ".join(it if isinstance(it, str) else ", ".join(it) for it in (said["true"], said["predicted"]))


def _draw_confusion(axes: Axes, counts: NDArray[np.int64], labels: Sequence[str]) -> None:
    axes.imshow(shares_of_true(counts), vmin=0, vmax=1, cmap="cividis", interpolation="none")
    axes.set(xlabel="predicted", ylabel="true")
    if len(labels) <= _NAMED:
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6, parse_math=False)
        axes.set_yticks(range(len(labels)), labels, fontsize=6, parse_math=False)
