"""Whether the model is compiled: where that is measured to be faster, in runs that are long enough to pay for it."""

from __future__ import annotations

import logging
import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch import nn

from convsmith.data.loading.loader import Batch
from convsmith.devices import ACCELERATORS
from convsmith.machine import cache_folder
from convsmith.training.memory import is_out_of_memory
from convsmith.training.parallel.distributed import broadcast
from convsmith.training.parts import Parts
from convsmith.training.precision import autocast, wait_for
from convsmith.training.session import Session

logger = logging.getLogger(__name__)

WORTH = 1800.0
"""Seconds of eager training left from which on compiling is tried; it can take minutes."""

SLOWEST = 20.0
"""1e9 multiply-adds a second that any machine makes: what would be short even so is not timed."""

WARM_UP, TIMED = 2, 3


CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""Names the folder of what torch has compiled; torch itself takes one among the temporary files."""


def keep_what_is_compiled() -> None:
    """Let torch keep it in the cache, by machine, where a later start finds it; where the user has said so, there."""
    folder = cache_folder() / "compiled" / platform.node()
    if CACHE_VARIABLE not in os.environ:
        with suppress(OSError):  # a home that cannot be written
            folder.mkdir(parents=True, exist_ok=True)
            os.environ[CACHE_VARIABLE] = str(folder)


def choose_compilation(session: Session, parts: Parts) -> None:
    """Decide whether the model is compiled, where that is not decided yet or the recipe has changed.

    Raises:
        StopNow: a signal came meanwhile.
    """
    recipe, progress = session.recipe, session.progress
    if session.world.sharded:
        if recipe.compile is True or progress.compiled:
            logger.warning("the model is not compiled, because its weights are shared out")
        progress.compiled = False
    elif progress.compiled is None or recipe.compile not in ("auto", progress.compiled):
        if progress.compiled is not None:
            how = ("as it is", "compiled")[bool(recipe.compile)]
            logger.warning("the model now computes %s: results may differ in the last bits", how)
        with session.poll.leaving_at_once():
            pays = session.world.leads and pays_to_compile(session, parts)
        progress.compiled = broadcast(session.world, pays)
    if progress.compiled:
        keep_what_is_compiled()


def pays_to_compile(session: Session, parts: Parts) -> bool:
    """Whether compiled passes are faster than eager ones by more than compiling costs, measured on a real batch.

    The trial leaves the model as it was, so that the training begins as if nothing had been.

    Args:
        session: which training; its recipe's key `compile` decides, unless it is `auto`.
        parts: model, objective and data.
    """
    recipe, plan = session.recipe, session.plan
    if recipe.compile != "auto":
        return recipe.compile
    if not ACCELERATORS[parts.device.type].compiles:
        return False
    # What changes with the epoch would be compiled again each time.
    changes = recipe.model.drop_path or recipe.model.drop_block or recipe.freeze
    talks = recipe.model.sync_batch_norm  # to processes that try nothing
    if changes or talks or recipe.quantization_aware:
        return False
    steps = plan.total_steps - session.progress.step
    if 3 * (plan.gmacs or 0) * plan.effective_batch * steps < WORTH * SLOWEST:
        return False
    passes = steps * plan.accumulation
    logger.info("timing some passes, to see whether compiling the model would pay (compile=false: do not)")
    with _unchanged(parts.model):
        return _is_faster(parts, next(iter(parts.batches())), passes)


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Take back what passes leave in a model: running statistics and gradients."""
    before = [buffer.clone() for buffer in model.buffers()]
    try:
        yield
    finally:
        model.zero_grad()
        for buffer, value in zip(model.buffers(), before, strict=True):
            buffer.copy_(value)


def _is_faster(parts: Parts, batch: Batch, passes: int) -> bool:
    """Whether so many passes take less time compiled, and compiling too."""
    try:
        eager = _seconds(parts.model, parts, batch)
    except RuntimeError as error:
        if is_out_of_memory(error):
            return False
        raise
    if eager * passes < WORTH:
        return False
    logger.info("compiling the model to see whether it is faster, which takes a minute or more")
    keep_what_is_compiled()
    start = time.perf_counter()
    try:
        compiled = _seconds(torch.compile(parts.model), parts, batch)  # type: ignore[arg-type]
    except Exception as error:  # of a compiler that is missing, a model that cannot be compiled, ...
        logger.info("the model cannot be compiled, and is trained as it is: %s", str(error).splitlines()[0])
        return False
    finally:
        torch.compiler.reset()
    spent = time.perf_counter() - start
    pays = (eager - compiled) * passes > spent
    logger.info(
        "%s: a pass takes %.3g s compiled and %.3g s as it is, and compiling took %.0f s",
        "compiled" if pays else "not compiled", compiled, eager, spent,
    )  # fmt: skip
    return pays


def _seconds(model: nn.Module, parts: Parts, batch: Batch) -> float:
    """Seconds of one forward and backward pass."""
    targets = batch.targets.to(parts.device)
    times = []
    for _ in range(WARM_UP + TIMED):
        start = time.perf_counter()
        with autocast(parts.precision, parts.device.type):
            loss = parts.objective(model, parts.as_input(batch.images), targets, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        wait_for(parts.device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARM_UP:])
