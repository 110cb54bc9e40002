"""The arithmetic of validations: float32, or that of the training for epochs that much training comes after."""

from __future__ import annotations

import logging

from convsmith.training.parallel.distributed import broadcast
from convsmith.training.precision import Precision
from convsmith.training.session import Session

logger = logging.getLogger(__name__)

AHEAD = 1800.0
"""Seconds of training ahead from which on `eval_precision: fast` judges in less than float32."""


def judging_precision(session: Session) -> Precision:
    """The arithmetic of the validation after the session's step; all processes have to come here.

    Until when it is fast is decided by the pace of the first epoch that is judged, and kept with the progress, so that
    a run that is gone on with judges as one that never stopped.
    """
    recipe, progress, plan = session.recipe, session.progress, session.plan
    if recipe.eval_precision == "fp32" or progress.precision == "fp32" or session.world.sharded:
        return "fp32"
    if progress.fast_until is None:
        pace = progress.train_seconds / (plan.epochs.at(progress.step - 1)[1] + 1)
        progress.fast_until = broadcast(session.world, max(0, int(plan.total_steps - AHEAD / pace)))
        if progress.step <= progress.fast_until:
            logger.info(
                "validation computes in %s up to step %d, then in fp32, in which the best epoch is judged again",
                progress.precision, progress.fast_until,
            )  # fmt: skip
    return progress.precision if progress.step <= progress.fast_until else "fp32"
