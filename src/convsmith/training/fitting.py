"""Steps that fit into memory: in smaller passes where those of the plan do not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import torch

from convsmith.data.loader import Batch
from convsmith.launch.report import OUT_OF_MEMORY
from convsmith.training.memory import OutOfMemory, depends_on_batch, smaller_batch
from convsmith.training.model_plan import replan
from convsmith.training.run import Run, limit_forward_batch
from convsmith.training.stepper import Stepper

logger = logging.getLogger(__name__)


def advance_in_memory(stepper: Stepper, batches: Iterator[Batch], run_dir: Path) -> Iterator[Batch]:
    """Take the next step, and change the plan to smaller passes where memory asks for it; the batches to go on with.

    Raises:
        OutOfMemory: nothing smaller is left; or the step cannot be taken again, because weights have moved or other
            processes wait: then `smaller` says with how many images in a pass the last checkpoint can be gone on from.
    """
    alone = stepper.parts.world.size == 1
    buffers = list(stepper.parts.model.buffers())
    while True:
        before = [buffer.clone() for buffer in buffers] if alone else []
        try:
            stepper.advance(batches)
            return batches
        except OutOfMemory as error:
            less = smaller_batch(stepper.plan.per_device_batch)
            if less is None:
                raise
            if not alone:
                limit_forward_batch(run_dir, less)
                error.fix = f"The same command goes on from the last checkpoint with {less} in a forward pass."
                error.exit_code = OUT_OF_MEMORY
            if not alone or error.in_update:
                error.smaller = less
                raise
            reason = error.why
        stepper.forget_gradients()
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
        if stepper.parts.device.type == "cuda":
            torch.cuda.empty_cache()
        _take_smaller_passes(stepper, less, reason)
        Run(run_dir).write_down(stepper.recipe, stepper.plan)
        batches = stepper.batches()


def _take_smaller_passes(stepper: Stepper, images: int, reason: str) -> None:
    before = stepper.plan.per_device_batch
    stepper.plan = replan(stepper.recipe, stepper.plan, images, stepper.parts.world)
    stepper.state.per_device_batch = images
    logger.warning(
        "out of memory with %d images in a forward pass (%s): step %d is taken in %d passes of %d images, "
        "and so are those after it%s",
        before, reason, stepper.state.step + 1, stepper.plan.accumulation, images,
        "; BatchNorm takes its statistics over those" if depends_on_batch(stepper.parts.model) else "",
    )  # fmt: skip
