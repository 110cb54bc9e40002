"""Pictures of a finished run, for its report, TensorBoard and the trackers: the confusion, and the worst errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.contact_sheet import Tile, write_sheet
from convsmith.analyze.plots import write_plot
from convsmith.analyze.report.confusion import shares_of_true
from convsmith.analyze.report.facts import WorstImage
from convsmith.analyze.report.judge_facts import HEAT, Shown
from convsmith.bundle.format import read_manifest
from convsmith.training.validation_file import read_validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from convsmith.training.run import Run

_TILES = 12  # of a picture
_NAMED = 40  # classes whose names have room beside a matrix


def draw_confusion(run: Run) -> None:
    """Write `confusion.png` of the run's own validation, where it has kept one.

    Raises:
        ConvsmithError: there is no bundle.
    """
    run.pictures.mkdir(exist_ok=True)
    manifest = read_manifest(run.bundle)
    found = read_validation(run.path, manifest.metrics, len(manifest.labels))
    if found is not None:
        counts = np.asarray(found["confusion"])
        write_plot(run.pictures / "confusion.png", lambda axes: _draw_confusion(axes, counts, manifest.labels))


def draw_errors(run: Run, worst: Sequence[tuple[WorstImage, Shown]]) -> None:
    """Write `errors.png` of the images that the run's bundle was most wrong about, as far as twelve tiles show them."""
    tiles = []
    for image, shown in worst:
        tiles += [Tile(pixels, _caption(what, image.said)) for what, pixels in shown if what != HEAT]
    if tiles:
        write_sheet(tiles[:_TILES], run.pictures / "errors.png")


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
