"""Where a training goes on from."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

import torch

from convsmith.data.dataset import DataSet
from convsmith.data.digest import data_digest, has_content_of, has_names_of
from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe
from convsmith.training.checkpoints.checkpoint import Checkpoint, latest_checkpoint, read_checkpoint
from convsmith.training.model_plan import replan
from convsmith.training.named_checkpoint import named_checkpoint
from convsmith.training.parallel.distributed import broadcast, gather
from convsmith.training.precision import pick_device, pick_precision
from convsmith.training.progress import Progress
from convsmith.training.run import Run, differences, forward_batch_limit
from convsmith.training.session import Session

logger = logging.getLogger(__name__)


def find_checkpoint(run: Run, recipe: Recipe, plan: Plan, resume: str | Path) -> Checkpoint | None:
    """The newest whole checkpoint of the directory's run, or the one that `resume` names; None for a new run.

    Raises:
        ConvsmithError: the run is of another recipe, not to be gone on with, or has lost its checkpoints.
    """
    if resume not in ("auto", "never"):
        return named_checkpoint(run, recipe, plan, Path(resume))
    if not run.has_begun:
        return None
    if resume == "never":
        raise ConvsmithError(f"{run.path} holds a run already", fix="Choose another directory with --out.")
    checkpoint = latest_checkpoint(run.checkpoints)
    if checkpoint is None or not _begin_extra_phase(run, recipe, checkpoint):
        run.check_same(recipe, plan)
    if checkpoint is None:
        raise ConvsmithError(
            f"{run.path} holds a bundle, but no checkpoints to go on from", fix="Choose another directory with --out."
        )
    return checkpoint


def _begin_extra_phase(run: Run, recipe: Recipe, checkpoint: Checkpoint) -> bool:
    """Set the bundle of a finished run aside, if all that the recipe adds is an extra phase; whether that is so.

    Raises:
        ConvsmithError: the run has not come to the end of its schedule.
    """
    began = run.recipe
    without = recipe.model_copy(update={"schedule": began.schedule})
    extra = getattr(recipe.schedule, "extra", None)
    if extra is None or getattr(began.schedule, "extra", None) is not None:
        return False
    if recipe.schedule.model_copy(update={"extra": None}) != began.schedule:
        return False
    if differences(began.model_dump(mode="json"), without.model_dump(mode="json")):
        return False
    step, steps = checkpoint.state["step"], run.plan["total_steps"]
    if step < steps:
        early = "it was stopped early" if checkpoint.state.get("stopped_early") else "it goes on by its own command"
        raise ConvsmithError(
            f"{run.path} cannot be extended",
            f"it has done {step} of the {steps} steps of its schedule: {early}",
            "An extra phase comes after the last step. To start from its best weights, give --finetune "
            f"{shlex.quote(str(run.path))} and another directory with --out.",
        )
    checkpoint.state.update(stopped_early=False, epochs_without_improvement=0)
    run.set_bundle_aside("bundle-before-extra")
    logger.info("%d more epochs, from the learning rate %g; the bundle so far is bundle-before-extra",
                extra.epochs, extra.lr)  # fmt: skip
    return True


def share_checkpoint(world: World, run: Run, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """The first process's checkpoint; to all of them.

    Raises:
        ConvsmithError: one that keeps a share of the model does not see the run directory.
    """
    if not world.sharded:
        return broadcast(world, checkpoint)
    # What is sent is in memory as a whole; of a file, only what is used.
    path = broadcast(world, checkpoint and checkpoint.path)
    if not all(gather(world, (run.path / ".lock").exists())):
        raise ConvsmithError(
            f"{run.path} is not seen by every process",
            "all that keep a share of the model write checkpoints",
            "Choose with --out a directory that all machines share, or leave out --shard.",
        )
    return checkpoint or (read_checkpoint(path) if path else None)


def begin(
    recipe: Recipe, plan: Plan, dataset: DataSet, run: Run, *, world: World, checkpoint: Checkpoint | None
) -> Session:
    """Where all processes go on from, with the plan from there.

    Raises:
        ConvsmithError: the data are not those that the run began with.
    """
    progress = progress_of(checkpoint, recipe, plan, dataset, world)
    limits = [it for it in gather(world, forward_batch_limit(run.path)) if it is not None]  # each machine's own
    limit = min(limits, default=progress.per_device_batch)
    if limit < progress.per_device_batch:
        logger.warning(
            "memory was too small for %d images in a forward pass before: it is %d (delete %s to try more)",
            progress.per_device_batch, limit, run.path / "forward_batch_limit",
        )  # fmt: skip
        progress.per_device_batch = limit
    progress = broadcast(world, progress)
    session = Session(recipe=recipe, plan=plan, dataset=dataset, run=run, world=world, progress=progress)
    _plan_as_begun(session)
    return session


def _plan_as_begun(session: Session) -> None:
    """Plan the forward batches that the run began with, whatever this machine would take today."""
    plan, progress, world = session.plan, session.progress, session.world
    if plan.per_device_batch == progress.per_device_batch:
        return
    if plan.effective_batch % (progress.per_device_batch * world.size):
        logger.warning(
            "the run began with %d images in a forward pass and goes on with %d, because batch.size=%d cannot be "
            "divided over %d processes otherwise: what depends on the images of one pass, such as BatchNorm, changes",
            progress.per_device_batch, plan.per_device_batch, plan.effective_batch, world.size,
        )  # fmt: skip
        progress.per_device_batch = plan.per_device_batch
        return
    session.plan = replan(session.recipe, plan, progress.per_device_batch, world)


def roll_back(session: Session) -> Checkpoint | None:
    """Go back to the last checkpoint, or to the start where there is none, with what was found out since."""
    left, run, world = session.progress, session.run, session.world
    checkpoint = share_checkpoint(world, run, latest_checkpoint(run.checkpoints) if world.leads else None)
    progress = progress_of(checkpoint, session.recipe, session.plan, session.dataset, world)
    progress.per_device_batch, progress.compiled, progress.lr_factor = (
        left.per_device_batch,
        left.compiled,
        left.lr_factor,
    )
    progress.teacher_digest, progress.start_digest = left.teacher_digest, left.start_digest
    progress.custom_digest = left.custom_digest
    progress.bad_files = left.bad_files
    session.progress = progress
    _plan_as_begun(session)
    return checkpoint


def progress_of(checkpoint: Checkpoint | None, recipe: Recipe, plan: Plan, dataset: DataSet, world: World) -> Progress:
    """Where to go on from.

    Raises:
        ConvsmithError: the data are not those that the run began with.
    """
    if checkpoint is None:
        return Progress(
            data_digest=data_digest(dataset),
            classes=[*dataset.classes],
            threads=torch.get_num_threads(),
            precision=pick_precision(recipe.precision, pick_device()),
            per_device_batch=plan.per_device_batch,
            world_size=world.size,
            loss_sums=[0.0] * world.size,
        )
    progress = Progress.from_dict(checkpoint.state)
    progress.classes = [*dataset.classes]
    if not has_names_of(dataset, progress.data_digest):
        raise ConvsmithError(
            f"{dataset.root} does not hold the data that this run began with",
            "files or classes were added, removed or renamed since",
            "Give the data as they were to go on, or start a new run in another directory with --out.",
        )
    if not has_content_of(dataset, progress.data_digest):
        raise ConvsmithError(
            f"{dataset.root} does not hold the data that this run began with",
            "the files have the same names, but some were overwritten since",
            "Put them back to go on, or start a new run in another directory with --out.",
        )
    progress.data_digest = data_digest(dataset)
    if progress.threads != torch.get_num_threads():
        logger.warning(
            "the run began with %d threads and goes on with %d: results may differ in the last bits",
            progress.threads, torch.get_num_threads(),
        )  # fmt: skip
    if progress.world_size != world.size:
        logger.warning(
            "the run began with %d processes and goes on with %d: results may differ in the last bits",
            progress.world_size, world.size,
        )  # fmt: skip
        mean = sum(progress.loss_sums) / len(progress.loss_sums)
        progress.world_size, progress.loss_sums = world.size, [mean] * world.size
    return progress
