"""The main job: from a recipe and a folder of images to a run with a proved bundle."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext
from datetime import timedelta
from pathlib import Path

from PIL import Image

from convsmith.allocation import keep_freed_memory
from convsmith.bundle.format import DamagedBundle, holds_run, read_files, read_manifest
from convsmith.bundle.images.limits import MAX_PIXELS_VARIABLE
from convsmith.data.folders.outputs import refuse_output_in_data
from convsmith.data.kept_index import index_beside
from convsmith.data.memory.in_memory import InMemory
from convsmith.errors import ConvsmithError
from convsmith.launch.world import TIMEOUT
from convsmith.machine import attribute_kept, variables_kept
from convsmith.output import output_that_may_be_lost
from convsmith.processor import check_target
from convsmith.recipe.extra_phase import with_extra_phase
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe
from convsmith.training.checkpoints.checkpoint import Checkpoint, set_aside_after, tidy
from convsmith.training.compilation import CACHE_VARIABLE, choose_compilation
from convsmith.training.data_check import check_data
from convsmith.training.divergence import FACTOR, LOWEST, Diverged
from convsmith.training.dry_evaluation import try_evaluation
from convsmith.training.log_file import log_file, silence
from convsmith.training.memory import OutOfMemory
from convsmith.training.observers.base import Observer
from convsmith.training.observers.console import Console
from convsmith.training.observers.jsonl import JsonLines
from convsmith.training.observers.tensorboard import TensorBoard
from convsmith.training.pack import pack
from convsmith.training.parallel.distributed import broadcast, joined
from convsmith.training.parts import make_parts
from convsmith.training.prepare import prepare_training
from convsmith.training.rehearsal import needs_rehearsal, rehearse
from convsmith.training.resume import begin, find_checkpoint, roll_back, share_checkpoint
from convsmith.training.run import Run
from convsmith.training.session import Session
from convsmith.training.signals import StopNow
from convsmith.training.start_checks import check_custom, check_kept_weights, check_start, check_teacher
from convsmith.training.torch_state import torch_state_kept
from convsmith.training.trainer import Trainer
from convsmith.waiting import READ_TIMEOUT_VARIABLE, disk_watched, idle_readers_ended

logger = logging.getLogger(__name__)


class TrainingInterrupted(ConvsmithError):
    """A signal ended the training; everything done is saved."""


def train(
    recipe: Recipe | str | Path,
    data: str | Path | InMemory,
    out: str | Path,
    resume: str | Path = "auto",
    observers: Sequence[Observer] = (),
    *,
    peer_timeout: timedelta = TIMEOUT,
    shard: bool = False,
    extend: int | None = None,
) -> Run:
    """Train a recipe on a folder of images and pack the best epoch into `out/bundle`.

    Started by torchrun, it is one of several processes that train together. The first of them writes the run directory,
    calls the observers and packs the bundle; the others return when the training is over.

    Args:
        recipe: a recipe, or the name or path of one.
        data: folder of images, see `open_data`, or images in memory.
        out: the run directory. A run of the same recipe that it holds is gone on with, bit for bit as if it had
            never stopped; a finished one is left as it is.
        resume: `never` refuses a directory that holds a run; the folder of a checkpoint is gone on from, see
            `named_checkpoint`.
        observers: further watchers besides console, metrics.jsonl and TensorBoard, told after those.
        peer_timeout: how long one of several processes waits for the others before that is an error.
        shard: each of several processes keeps only its share of weights, gradients, optimizer state and average. All
            of them write checkpoints, so all have to see `out`.
        extend: more epochs for a finished run, see `with_extra_phase`; its bundle so far becomes `bundle-before-extra`.

    Raises:
        ConvsmithError: something in the recipe, the data or the directory must be put right.
        PeerLost: another process has ended, or has not answered in time; the same call of all goes on.
        TrainingInterrupted: SIGINT, SIGTERM or SIGUSR1 came; the same call goes on.
    """
    keep_freed_memory()
    run = Run(Path(out))
    if not isinstance(data, InMemory):
        refuse_output_in_data(run.path, Path(data))
    with (
        idle_readers_ended(),
        joined(peer_timeout, sharded=shard) as world,
        torch_state_kept(),
        variables_kept(MAX_PIXELS_VARIABLE, READ_TIMEOUT_VARIABLE, CACHE_VARIABLE),
        attribute_kept(Image, "MAX_IMAGE_PIXELS"),
        nullcontext() if world.leads else silence(),
        index_beside(run.path / "index") as keep_index,
    ):
        if shard and not world.sharded:
            logger.warning("one process alone keeps all of the model: it has no other to share it with")
        recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
        recipe = recipe if extend is None else with_extra_phase(recipe, extend)
        begun = None
        if recipe.left_to_weights or recipe.mean_is_open:
            begun = broadcast(world, run.recipe if world.leads and holds_run(run.path) else None)
        recipe, dataset, plan = prepare_training(recipe, data, world, shard, begun)
        if world.sharded and recipe.quantization_aware:
            raise ConvsmithError(
                "a training for INT8 cannot be shared out",
                "each process would round by ranges of its own",
                "Leave out --shard, or set quantization_aware=null.",
            )
        if recipe.quantization_aware:
            check_target(recipe.quantization_aware.target)
        if recipe.schedule.epochs == 0:
            check_kept_weights(recipe)
        if not world.leads:
            checkpoint = share_checkpoint(world, run, None)
            _train(begin(recipe, plan, dataset, run, world=world, checkpoint=checkpoint), checkpoint)
            return run
        with (
            run.system_errors_are_told(),
            run.lock(),
            log_file(run.path),
            disk_watched(run.path),
            output_that_may_be_lost("stderr"),
            closing(Console()) as console,
        ):
            checkpoint = share_checkpoint(world, run, find_checkpoint(run, recipe, plan, resume))
            session = begin(recipe, plan, dataset, run, world=world, checkpoint=checkpoint)
            session.observers = [console, *observers]
            keep_index()
            _lead(session, checkpoint)
    return run


def _lead(session: Session, checkpoint: Checkpoint | None) -> None:
    """Do the work of the process that writes the run directory: the only one, or the first."""
    run, progress = session.run, session.progress
    session.write_down()
    if checkpoint:
        set_aside_after(run.checkpoints, progress.step)
        tidy(run.checkpoints, progress.best_step, session.recipe.checkpoint.keep)
    console, *others = session.observers
    writers = [
        JsonLines(run.path / "metrics.jsonl", progress.step, progress.evaluated_step if checkpoint else -1),
        TensorBoard(run.path / "tensorboard", progress.step),
        *others,
    ]
    session.observers = [console, *writers]
    with ExitStack() as stack:
        for writer in writers:
            stack.callback(writer.close)
            writer.data(session.dataset)
            writer.begin(run)
        _train(session, checkpoint)
        if not _is_packed(run):
            pack(session)
        for writer in reversed(writers):  # those that were added make what the first ones show
            writer.end(run)


def _is_packed(run: Run) -> bool:
    """Whether the run has its bundle, as it was written; a warning says what is wrong with a damaged one."""
    if not run.bundle.exists():
        return False
    try:
        read_files(run.bundle, read_manifest(run.bundle))
    except DamagedBundle as error:
        logger.warning("%s (%s): it is packed again", error.what, error.why)
        return False
    return True


def _train(session: Session, checkpoint: Checkpoint | None) -> None:
    """Train from the session's progress to the end of the plan, an early stop or a signal."""
    recipe, progress, poll = session.recipe, session.progress, session.poll
    judged_last = progress.best_step is not None and progress.evaluated_step == session.plan.total_steps
    finished = judged_last or progress.stopped_early
    check_start(session)
    check_teacher(session, finished)
    if finished:
        logger.info("%s is finished: nothing is left to train", session.run.path)
        return
    check_custom(session)
    for note in session.dataset.notes:
        logger.info(note)
    with poll.stop:
        extremes = check_data(session)
        if checkpoint is None and not poll.stopping and needs_rehearsal(recipe):
            rehearse(session)
        while not poll.stopping:
            parts = make_parts(session)
            if recipe.eval and session.progress.step == 0 and session.plan.total_steps:
                try_evaluation(session, parts, extremes)
            try:
                choose_compilation(session, parts)
                Trainer(session, parts, checkpoint).fit()
                break
            except StopNow:
                break
            except (Diverged, OutOfMemory) as error:
                reason, change = f"{error.what}: {error.why}", _change_after(error, session)
            del parts  # and with it a model; the error held on to it too
            gc.collect()
            checkpoint, progress = roll_back(session), session.progress
            for observer in session.observers:
                observer.roll_back(progress.step, progress.evaluated_step)
            logger.warning("%s: the training goes on from step %d with %s", reason, progress.step, change)
        poll.now()  # none leaves before the first process has saved
    if poll.stopping:
        raise _interrupted(session)


def _change_after(error: Diverged | OutOfMemory, session: Session) -> str:
    """Change what may help, and say what that is; the error is raised again where nothing does."""
    progress, world = session.progress, session.world
    if isinstance(error, OutOfMemory):
        if error.smaller is None or world.size > 1:
            raise error
        progress.per_device_batch = error.smaller
        return f"{error.smaller} in a forward pass"
    if session.recipe.on_divergence == "stop":
        raise error
    if progress.lr_factor <= LOWEST:
        error.give_up()
        raise error
    progress.lr_factor *= FACTOR
    if world.leads and error.sound_until is not None:
        set_aside_after(session.run.checkpoints, error.sound_until)
    return f"{progress.lr_factor:g} times the learning rate of the recipe"


def _interrupted(session: Session) -> TrainingInterrupted:
    number, done = session.poll.stop.signal, session.progress.step
    assert number is not None
    error = TrainingInterrupted(
        f"stopped by {number.name} after step {done} of {session.plan.total_steps}; everything done is saved",
        fix="The same command goes on from there.",
    )
    error.exit_code = 128 + number
    return error
