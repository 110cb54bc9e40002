"""A report and pictures at the end of a training, made in a stated share of its time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from convsmith.training.observers.base import Observer

if TYPE_CHECKING:
    from convsmith.data.dataset import DataSet
    from convsmith.training.run import Run

logger = logging.getLogger(__name__)

SHARE, LEAST, MOST = 0.03, 4.0, 300.0
"""The share of a training's seconds that the images of its report may take; what they always may, and never exceed."""


class ReportAtEnd(Observer):
    """Writes `pictures/` and `report.html` into the run; whatever goes wrong with them is a warning.

    Args:
        where: the path of the data, for the page; None: they have none.
        seconds: that the images may take; None: see `seconds_for`.
    """

    def __init__(self, where: Path | None, seconds: float | None = None) -> None:
        self._where, self._seconds = where, seconds
        self._dataset: DataSet | None = None

    def data(self, dataset: DataSet) -> None:
        """Keep the data for the end."""
        self._dataset = dataset

    def end(self, run: Run) -> None:
        """Write them, or warn why there are none: the model is trained and packed, and nothing may come between."""
        try:
            from convsmith.analyze.report.gather import facts_of_run, with_data
            from convsmith.analyze.report.in_time import with_images
            from convsmith.analyze.report.make_report import page_of, write_report

            facts = facts_of_run(run)
            if self._where is not None:
                facts = with_data(facts, self._where)
            try:
                seconds = seconds_for(facts.seconds["train"]) if self._seconds is None else self._seconds
                facts = with_images(facts, run, self._dataset, seconds)
            except Exception as error:
                logger.warning("there are no pictures of %s: %s", run.path, error)
            write_report(facts, page_of(run.path))
        except Exception as error:
            logger.warning("there is no report of %s: %s", run.path, error)


def seconds_for(training: float) -> float:
    """The seconds that the images of a report may take after a training of so many."""
    return min(max(LEAST, SHARE * training), MOST)
