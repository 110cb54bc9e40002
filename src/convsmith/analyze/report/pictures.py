"""Pictures of a finished run, for TensorBoard and the trackers: the confusion, and the worst errors."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.contact_sheet import Tile, write_sheet
from convsmith.analyze.evaluate import Judged, judge_part
from convsmith.analyze.plots import write_plot
from convsmith.analyze.report.judge_facts import show_judged
from convsmith.bundle.format import read_manifest
from convsmith.data.open_data import judged_by
from convsmith.deploy.format import open_bundle
from convsmith.progress import no_progress
from convsmith.training.observers.base import Observer
from convsmith.training.validation_file import read_validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from convsmith.training.run import Run

logger = logging.getLogger(__name__)

_ASKED, _ASKED_OF_LARGE = 64, 12  # validation images, evenly of all; of those that may be large fewer
_SHOWN = 12  # tiles of the worst ones
_NAMED = 40  # classes whose names have room beside a matrix


class PicturesAtEnd(Observer):
    """Draws `pictures/` of a run in a few seconds; whatever goes wrong with it is a warning.

    Args:
        data: what the run is trained on.
    """

    def __init__(self, data: Path) -> None:
        self._data = data

    def end(self, run: Run) -> None:
        """Draw them, or warn why there are none."""
        try:
            draw_pictures(run, self._data)
        except Exception as error:  # the model is trained and packed: nothing may come between
            logger.warning("there are no pictures of %s: %s", run.path, error)


def draw_pictures(run: Run, data: Path) -> None:
    """Write `confusion.png` of the run's own validation, and `errors.png` of the worst of some validation images.

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
    if tiles := _worst_tiles(judged):
        write_sheet(tiles, run.pictures / "errors.png")


def _worst_tiles(judged: Judged) -> list[Tile]:
    """The images with the highest loss, each with all that its task draws of it."""
    order = np.argsort(-judged.results.losses(), kind="stable")[:_SHOWN]
    tiles = []
    for number, row in zip(order, judged.results.select(order).rows(judged.bundle.labels), strict=True):
        for what, pixels in show_judged(judged, int(judged.numbers[number])):
            tiles.append(Tile(pixels, _caption(what, row)))
    return tiles[:_SHOWN]


def _caption(what: str, row: dict[str, Any]) -> str:
    """Class and answer where an image has them, as in `cat: dog`; else the name of the picture."""
    if "true" not in row:
        return what
    return ": ".join(it if isinstance(it, str) else ", ".join(it) for it in (row["true"], row["predicted"]))


def _draw_confusion(axes: Axes, counts: NDArray[np.int64], labels: Sequence[str]) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, vmin=0, vmax=1, cmap="cividis", interpolation="none")
    axes.set(xlabel="predicted", ylabel="true")
    if len(labels) <= _NAMED:
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6, parse_math=False)
        axes.set_yticks(range(len(labels)), labels, fontsize=6, parse_math=False)
