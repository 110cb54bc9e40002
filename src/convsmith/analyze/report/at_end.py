"""A report at the end of a training, of what the run itself knows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from convsmith.training.observers.base import Observer

if TYPE_CHECKING:
    from convsmith.training.run import Run

logger = logging.getLogger(__name__)


class ReportAtEnd(Observer):
    """Writes `report.html` into the run, in a second or two; whatever goes wrong with it is a warning."""

    def end(self, run: Run) -> None:
        """Write the report, or warn why there is none."""
        try:
            from convsmith.analyze.report.make_report import report

            report(run.path)
        except Exception as error:  # the model is trained and packed: nothing may come between
            logger.warning("there is no report of %s: %s", run.path, error)
