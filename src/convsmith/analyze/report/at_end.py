"""A report and pictures at the end of a training, of what the run knows and of some validation images."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from convsmith.training.observers.base import Observer

if TYPE_CHECKING:
    from convsmith.training.run import Run

logger = logging.getLogger(__name__)


class ReportAtEnd(Observer):
    """Writes `pictures/` and `report.html` into the run, in a few seconds; whatever goes wrong with them is a warning.

    Args:
        data: what the run is trained on; None: nothing that can be opened again, so that no images are shown.
    """

    def __init__(self, data: Path | None) -> None:
        self._data = data

    def end(self, run: Run) -> None:
        """Write them, or warn why there are none: the model is trained and packed, and nothing may come between."""
        sample = None
        if self._data is not None:
            try:
                from convsmith.analyze.report.pictures import draw_pictures

                sample = draw_pictures(run, self._data)
            except Exception as error:
                logger.warning("there are no pictures of %s: %s", run.path, error)
        try:
            from convsmith.analyze.report.gather import facts_of_run
            from convsmith.analyze.report.make_report import page_of, write_report

            write_report(replace(facts_of_run(run), sample=sample), page_of(run.path))
        except Exception as error:
            logger.warning("there is no report of %s: %s", run.path, error)
