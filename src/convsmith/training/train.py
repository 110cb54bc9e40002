"""The main job: from a recipe and a folder of images to a run with a proved bundle."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Literal

import torch

from convsmith.data.dataset import DataSet, num_samples
from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.recipe.load import load_recipe
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe
from convsmith.tasks.make import open_data
from convsmith.tasks.teacher import teacher_digest
from convsmith.training.bad_files import BadFiles
from convsmith.training.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    read_checkpoint,
    set_aside_after,
    tidy,
)
from convsmith.training.compilation import pays_to_compile
from convsmith.training.data_check import check_data
from convsmith.training.distributed import TIMEOUT, Poll, broadcast, gather, joined
from convsmith.training.divergence import FACTOR, LOWEST, Diverged
from convsmith.training.log_file import log_file
from convsmith.training.model_plan import plan as make_plan
from convsmith.training.observers.base import Observer
from convsmith.training.observers.console import Console
from convsmith.training.observers.jsonl import JsonLines
from convsmith.training.observers.tensorboard import TensorBoard
from convsmith.training.pack import pack
from convsmith.training.parts import make_parts
from convsmith.training.precision import pick_device, pick_precision
from convsmith.training.progress import Progress
from convsmith.training.run import Run, forward_batch_limit
from convsmith.training.signals import StopRequest
from convsmith.training.trainer import Trainer

logger = logging.getLogger(__name__)

_ALONE = World()


class TrainingInterrupted(ConvsmithError):
    """A signal ended the training; everything done is saved."""


def train(
    recipe: Recipe | str | Path,
    data: str | Path,
    out: str | Path,
    resume: Literal["auto", "never"] = "auto",
    observers: Sequence[Observer] = (),
    peer_timeout: timedelta = TIMEOUT,
    shard: bool = False,
) -> Run:
    """Train a recipe on a folder of images and pack the best epoch into `out/bundle`.

    Started by torchrun, it is one of several processes that train together. The first of them writes the run directory,
    calls the observers and packs the bundle; the others return when the training is over.

    Args:
        recipe: a recipe, or the name or path of one.
        data: folder of images, see `open_data`.
        out: the run directory. A run of the same recipe that it holds is gone on with, bit for bit as if it had
            never stopped; a finished one is left as it is.
        resume: `never` refuses a directory that holds a run.
        observers: further watchers besides console, metrics.jsonl and TensorBoard, told after those.
        peer_timeout: how long one of several processes waits for the others before that is an error.
        shard: each of several processes keeps only its share of weights, gradients, optimizer state and average. All
            of them write checkpoints, so all have to see `out`.

    Raises:
        ConvsmithError: something in the recipe, the data or the directory must be put right.
        PeerLost: another process has ended, or has not answered in time; the same call of all goes on.
        TrainingInterrupted: SIGINT, SIGTERM or SIGUSR1 came; the same call goes on.
    """
    run = Run(Path(out))
    with joined(peer_timeout, sharded=shard) as world, nullcontext() if world.leads else _silence():
        if shard and not world.sharded:
            logger.warning("one process alone keeps all of the model: it has nobody to share it out with")
        recipe, dataset, plan = prepare_training(recipe, data, world)
        if world.sharded and recipe.quantization_aware:
            raise ConvsmithError(
                "a training for INT8 cannot be shared out",
                "each process would round by ranges of its own",
                "Leave out --shard, or set quantization_aware=null.",
            )
        if world.leads:
            _lead(recipe, dataset, plan, run, resume, observers, world)
        else:
            _follow(recipe, dataset, plan, run, world)
    return run


def prepare_training(
    recipe: Recipe | str | Path, data: str | Path, world: World = _ALONE
) -> tuple[Recipe, DataSet, Plan]:
    """The recipe with the data's number of classes, the data, and the plan of both; nothing is written.

    Raises:
        ConvsmithError: something in the recipe or the data must be put right.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    dataset = open_data(recipe, Path(data))
    recipe = _with_num_classes(recipe, dataset)
    extra_samples = None if dataset.extra is None else len(dataset.extra)
    plan = make_plan(recipe, len(dataset.train), *world.grid, extra_samples=extra_samples)
    return recipe, dataset, broadcast(world, plan)  # the memory of another machine may be of another size


def trainer_at_start(recipe: Recipe, plan: Plan, dataset: DataSet, run_dir: Path) -> Trainer:
    """A trainer before its first step, whom nobody watches; it writes only bad files' names, and what it is told to."""
    progress = _start(None, recipe, plan, dataset, _ALONE)
    bad_files = BadFiles(run_dir / "bad_files.txt", dataset.root, num_samples(dataset))
    parts = make_parts(recipe, plan, dataset, progress, bad_files, (), _ALONE, Poll(_ALONE, StopRequest()))
    return Trainer(recipe, plan, parts, run_dir, progress, None)


def _lead(
    recipe: Recipe,
    dataset: DataSet,
    plan: Plan,
    run: Run,
    resume: Literal["auto", "never"],
    observers: Sequence[Observer],
    world: World,
) -> None:
    """What the process does that writes the run directory: the only one, or the first."""
    with run.full_disk_is_an_error(), run.lock(), log_file(run.path), ExitStack() as stack:
        console = Console()
        stack.callback(console.close)
        checkpoint = _given(world, run, _checkpoint_to_go_on_from(run, recipe, resume))
        progress, plan = _begin(checkpoint, recipe, plan, dataset, run, world)
        run.write_down(recipe, plan)
        if checkpoint:
            set_aside_after(run.checkpoints, progress.step)
            tidy(run.checkpoints, progress.best_step, recipe.checkpoint.keep)
        writers = [
            JsonLines(run.path / "metrics.jsonl", progress.evaluated_step),
            TensorBoard(run.path / "tensorboard", progress.evaluated_step),
            *observers,
        ]
        for writer in writers:
            stack.callback(writer.close)
            writer.begin(run)
        progress = _train(recipe, plan, dataset, run, progress, checkpoint, [console, *writers], world)
        if not run.bundle.exists():
            pack(recipe, dataset, run, progress)
        for writer in writers:
            writer.end(run)


def _follow(recipe: Recipe, dataset: DataSet, plan: Plan, run: Run, world: World) -> None:
    """What each other process does."""
    checkpoint = _given(world, run, None)
    progress, plan = _begin(checkpoint, recipe, plan, dataset, run, world)
    _train(recipe, plan, dataset, run, progress, checkpoint, (), world)


@contextmanager
def _silence() -> Iterator[None]:
    """Leave it to the first process to say what all of them notice."""
    package = logging.getLogger("convsmith")
    level = package.level
    package.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        package.setLevel(level)


def _checkpoint_to_go_on_from(run: Run, recipe: Recipe, resume: Literal["auto", "never"]) -> Checkpoint | None:
    """The newest whole checkpoint of the directory's run, None for a new run.

    Raises:
        ConvsmithError: the run is of another recipe, not to be gone on with, or has lost its checkpoints.
    """
    if not run.bundle.exists() and not any(run.checkpoints.glob("step-*")):
        return None
    if resume == "never":
        raise ConvsmithError(f"{run.path} holds a run already", fix="Choose another directory with --out.")
    run.check_same(recipe)
    checkpoint = latest_checkpoint(run.checkpoints)
    if checkpoint is None:
        raise ConvsmithError(
            f"{run.path} holds a bundle, but no checkpoints to go on from", fix="Choose another directory with --out."
        )
    return checkpoint


def _given(world: World, run: Run, checkpoint: Checkpoint | None) -> Checkpoint | None:
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


def _begin(
    checkpoint: Checkpoint | None, recipe: Recipe, plan: Plan, dataset: DataSet, run: Run, world: World
) -> tuple[Progress, Plan]:
    """Where all processes go on from, and the plan from there.

    Raises:
        ConvsmithError: the data are not those that the run began with, or not the same for all processes.
    """
    progress = _start(checkpoint, recipe, plan, dataset, world)
    if len(set(gather(world, dataset.digest))) > 1:
        raise ConvsmithError(
            f"{dataset.root} does not hold the same data for every process",
            "files or classes are missing on a machine",
            "Give all machines the same data.",
        )
    limit = forward_batch_limit(run.path)
    if limit is not None and limit < progress.per_device_batch:
        logger.warning(
            "memory was too small for %d images in a forward pass before: it is %d (delete %s to try more)",
            progress.per_device_batch, limit, run.path / "forward_batch_limit",
        )  # fmt: skip
        progress.per_device_batch = limit
    progress = broadcast(world, progress)
    plan = _as_begun(plan, recipe, progress, world)
    return progress, plan


def _as_begun(plan: Plan, recipe: Recipe, progress: Progress, world: World) -> Plan:
    """The plan with the forward batches that the run began with, whatever this machine would take today."""
    if plan.per_device_batch == progress.per_device_batch:
        return plan
    if plan.effective_batch % (progress.per_device_batch * world.size):
        logger.warning(
            "the run began with %d images in a forward pass and goes on with %d, because batch.size=%d cannot be "
            "divided over %d processes otherwise: what depends on the images of one pass, such as BatchNorm, changes",
            progress.per_device_batch, plan.per_device_batch, plan.effective_batch, world.size,
        )  # fmt: skip
        progress.per_device_batch = plan.per_device_batch
        return plan
    batch = recipe.batch.model_copy(update={"per_device": progress.per_device_batch})
    extra_samples = plan.extra["num_samples"] if plan.extra else None
    recipe = recipe.model_copy(update={"batch": batch})
    return make_plan(recipe, plan.num_samples, *world.grid, extra_samples=extra_samples)


def _train(
    recipe: Recipe,
    plan: Plan,
    dataset: DataSet,
    run: Run,
    progress: Progress,
    checkpoint: Checkpoint | None,
    watchers: Sequence[Observer],
    world: World,
) -> Progress:
    """Train from `progress` to the end of the plan, an early stop or a signal; how far it came."""
    if progress.evaluated_step == plan.total_steps or progress.stopped_early:
        logger.info("%s is finished: nothing is left to train", run.path)
        return progress
    _check_teacher(recipe, progress)
    for note in dataset.notes:
        logger.info(note)
    bad_files = BadFiles(run.path / "bad_files.txt", dataset.root, num_samples(dataset), writes=world.leads)
    with StopRequest() as stop:
        poll = Poll(world, stop)
        check_data(recipe, dataset, progress, bad_files, watchers, world, poll)
        while not poll.stopping:
            parts = make_parts(recipe, plan, dataset, progress, bad_files, watchers, world, poll)
            if world.sharded:
                if recipe.compile is True or progress.compiled:
                    logger.warning("the model is not compiled, because its weights are shared out")
                progress.compiled = False
            elif progress.compiled is None:
                progress.compiled = broadcast(world, world.leads and pays_to_compile(recipe, plan, parts, progress))
            try:
                Trainer(recipe, plan, parts, run.path, progress, checkpoint).fit()
                break
            except Diverged as error:
                if recipe.on_divergence == "stop" or progress.lr_factor <= LOWEST:
                    raise
                reason = f"{error.what}: {error.why}"
            del parts  # and with it a model; the error held on to it too
            gc.collect()
            checkpoint, progress = _gone_back(reason, recipe, plan, dataset, run, progress, world)
            plan = _as_begun(plan, recipe, progress, world)
        poll.now()  # nobody leaves before the first process has saved
    if poll.stopping:
        raise _interrupted(stop, progress, plan)
    return progress


def _gone_back(
    reason: str, recipe: Recipe, plan: Plan, dataset: DataSet, run: Run, diverged: Progress, world: World
) -> tuple[Checkpoint | None, Progress]:
    """The last checkpoint, or the start where there is none, to go on from with a lower learning rate."""
    checkpoint = _given(world, run, latest_checkpoint(run.checkpoints) if world.leads else None)
    progress = _start(checkpoint, recipe, plan, dataset, world)
    progress.per_device_batch, progress.compiled = diverged.per_device_batch, diverged.compiled
    progress.lr_factor = FACTOR * diverged.lr_factor
    progress.teacher_digest, progress.bad_files = diverged.teacher_digest, diverged.bad_files
    logger.warning(
        "%s: the training goes on from step %d with %g times the learning rate of the recipe",
        reason, progress.step, progress.lr_factor,
    )  # fmt: skip
    return checkpoint, progress


def _with_num_classes(recipe: Recipe, dataset: DataSet) -> Recipe:
    """The recipe with the data's number of classes.

    Raises:
        ConvsmithError: the recipe asks for another number.
    """
    found, wanted = len(dataset.classes), recipe.model.num_classes
    if wanted not in (None, found):
        raise ConvsmithError(
            f"the recipe says model.num_classes={wanted}, but {dataset.root} has {found} classes",
            fix="Set model.num_classes=null to take it from the data.",
        )
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"num_classes": found})})


def _start(checkpoint: Checkpoint | None, recipe: Recipe, plan: Plan, dataset: DataSet, world: World) -> Progress:
    """Where to go on from.

    Raises:
        ConvsmithError: the data are not those that the run began with.
    """
    if checkpoint is None:
        return Progress(
            data_digest=dataset.digest,
            threads=torch.get_num_threads(),
            precision=pick_precision(recipe.precision, pick_device()),
            per_device_batch=plan.per_device_batch,
            world_size=world.size,
            loss_sums=[0.0] * world.size,
        )
    progress = Progress.from_dict(checkpoint.state)
    if progress.data_digest != dataset.digest:
        raise ConvsmithError(
            f"{dataset.root} does not hold the data that this run began with",
            "files or classes were added, removed or renamed since",
            "Give the data as they were to go on, or start a new run in another directory with --out.",
        )
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


def _check_teacher(recipe: Recipe, progress: Progress) -> None:
    """Take note of the teacher's file, or raise a ConvsmithError if it is not the one that the run began with."""
    if recipe.distillation is None:
        return
    digest = teacher_digest(recipe.distillation.teacher)
    if progress.step and progress.teacher_digest != digest:
        raise ConvsmithError(
            "distillation.teacher is not the one that this run began with",
            "its file has changed since",
            "Put the file back to go on, or start a new run in another directory with --out.",
        )
    progress.teacher_digest = digest


def _interrupted(stop: StopRequest, progress: Progress, plan: Plan) -> TrainingInterrupted:
    assert stop.signal is not None
    error = TrainingInterrupted(
        f"stopped by {stop.signal.name} after step {progress.step} of {plan.total_steps}; everything done is saved",
        fix="The same command goes on from there.",
    )
    error.exit_code = 128 + stop.signal
    return error
