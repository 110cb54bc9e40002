"""Steps that fit into memory: in smaller passes where those of the plan do not."""

from __future__ import annotations

import logging

import torch

from convsmith.errors import ConvsmithError
from convsmith.launch.report import OUT_OF_MEMORY
from convsmith.recipe.plan import Plan
from convsmith.training.memory import OutOfMemory, depends_on_batch, smaller_batch
from convsmith.training.model_plan import replan
from convsmith.training.precision import free_memory
from convsmith.training.run import limit_forward_batch
from convsmith.training.session import Session
from convsmith.training.stepper import Stepper

logger = logging.getLogger(__name__)


def advance_in_memory(stepper: Stepper) -> None:
    """Take the next step, and change the plan to smaller passes where memory asks for it.

    Raises:
        OutOfMemory: the model can learn from nothing smaller; or the step cannot be taken again, because weights have
            moved or other processes wait: then `smaller` says with how many images in a pass the last checkpoint can
            be gone on from.
    """
    session, alone = stepper.session, stepper.session.world.size == 1
    buffers = list(stepper.parts.model.buffers())
    while True:
        before = [buffer.clone() for buffer in buffers] if alone else []
        try:
            stepper.advance()
            return
        except OutOfMemory as error:
            plan = _smaller(session)
            if plan is None:
                raise
            less = plan.per_device_batch
            if not alone:
                limit_forward_batch(session.run.path, less)
                error.fix = f"The same command goes on from the last checkpoint with {less} in a forward pass."
                error.exit_code = OUT_OF_MEMORY
            if not alone or error.in_update:
                error.smaller = less
                raise
            reason = error.why
        stepper.undo_passes()
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
        free_memory(stepper.parts.device)
        if session.progress.compiled:
            torch.compiler.reset()  # else it compiles for batches of any size, which a resume does not
        logger.warning(
            "out of memory with %d images in a forward pass (%s): step %d is taken in %d passes of %d images, "
            "and so are those after it%s",
            session.plan.per_device_batch, reason, session.progress.step + 1, plan.accumulation, less,
            "; BatchNorm takes its statistics over those" if depends_on_batch(stepper.parts.model) else "",
        )  # fmt: skip
        session.plan, session.progress.per_device_batch = plan, less
        session.write_down()


def _smaller(session: Session) -> Plan | None:
    """The plan with about half as many images in a forward pass; None if the model cannot learn from so few."""
    less = smaller_batch(session.plan.per_device_batch)
    if less is None:
        return None
    try:
        return replan(session.recipe, session.plan, less, session.world)
    except ConvsmithError:
        return None
