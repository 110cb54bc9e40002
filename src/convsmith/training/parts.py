"""Parts of a trainer, put together from a recipe, a plan and data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.bundle.task import find_task
from convsmith.data.dataset import Samples, Split, num_samples
from convsmith.data.loading.loader import Batch, default_workers, train_loader, val_loader
from convsmith.data.loading.sampler import StepSampler, Windows, used_samples
from convsmith.devices import ACCELERATORS
from convsmith.launch.world import World
from convsmith.models.layers import Normalize
from convsmith.randomness import Stream, counter_seed
from convsmith.recipe.schema import Recipe
from convsmith.tasks.base import Objective, TaskTraining, ValidationResults, find_training
from convsmith.training.bad_files import most_bad
from convsmith.training.image_cache import Cache, open_cache
from convsmith.training.model_plan import build_model
from convsmith.training.precision import Precision, pick_device, set_up
from convsmith.training.session import Session
from convsmith.training.update.tricks import prepare, synchronise_batch_norm

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """Model, data, loss and watchers that a trainer works with.

    Attributes:
        model: on its device, in its memory layout.
        normalize: uint8 images to the model's input, on the same device.
        channels_last: whether images have the memory layout NHWC, as the model has.
        batches: this process's micro-batches of the plan from the next step on, in order.
        val: its share of the validation images, each once; iterated after each epoch if the recipe evaluates.
        objective: the loss of a batch, made for `model`.
        new_results: makes an empty collection for one evaluation.
        precision: arithmetic of the passes.
        eval_precision: arithmetic of a validation.
    """

    model: nn.Module
    normalize: nn.Module
    channels_last: bool
    task: TaskTraining[Any]
    objective: Objective
    batches: Callable[[], Iterable[Batch]]
    val: Iterable[Batch]
    new_results: Callable[[], ValidationResults]
    device: torch.device
    precision: Precision
    eval_precision: Precision = "fp32"

    def as_input(self, images: Tensor) -> Tensor:
        """The model's input from uint8 images, on its device and in its layout."""
        images = images.to(self.device, non_blocking=True)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        normalized: Tensor = self.normalize(images.contiguous(memory_format=layout))
        return normalized


def make_parts(session: Session) -> Parts:
    """Build the model, its objective and the loaders for the steps from the session's progress on."""
    recipe, plan, dataset, progress = session.recipe, session.plan, session.dataset, session.progress
    device = pick_device()
    set_up(device)
    torch.manual_seed(counter_seed(Stream.INIT, recipe.seed))
    model = build_model(recipe, None if progress.step else recipe.model.weights, dataset.classes)
    prepare(model, recipe)
    if recipe.model.sync_batch_norm:
        model = synchronise_batch_norm(model, device)
    model = model.to(device)
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    workers = loader_workers(recipe, device, session.world)
    task = find_training(recipe.task)
    used = used_samples(recipe.sampling, dataset.train.targets, recipe.seed)
    objective = task.objective(recipe, model, dataset, used, device)
    images = f"{len(dataset.classes)} classes, {len(dataset.train)} training and {len(dataset.val)} validation images"
    devices = f"{session.world.size} x " if session.world.size > 1 else ""
    batch = f"{plan.effective_batch} = {devices}{plan.per_device_batch} x {plan.accumulation}"
    logger.info("%s: %s", dataset.root, images)
    logger.info("%s in %s, batch %s, %d loader workers", device.type, progress.precision, batch, workers)
    if varies := ACCELERATORS[device.type].varies:
        logger.info("on %s, %s", device.type, varies)
    cache = open_cache(session)
    logger.info("step %d of %d", progress.step, plan.total_steps)
    return Parts(
        model=model,
        normalize=Normalize(recipe.preprocess.mean, recipe.preprocess.std).to(device),
        channels_last=recipe.channels_last,
        task=task,
        objective=objective,
        batches=lambda: _training_batches(session, workers, cache),
        val=val_loader(
            dataset.val,
            dataset.validation_reader("val", recipe.preprocess),
            plan.per_device_batch if find_task(recipe.task).one_size else 1,
            workers=workers,
            rank=session.world.rank,
            world_size=session.world.size,
        ),
        new_results=lambda: task.new_results(recipe, len(dataset.classes)),
        device=device,
        precision=progress.precision,
    )


def loader_workers(recipe: Recipe, device: torch.device, world: World) -> int:
    """Loader processes of this training process: the recipe's number, or what suits the machine."""
    asked = recipe.data.workers
    return default_workers(device.type, local_devices=world.local_size) if asked == "auto" else asked


def _training_batches(session: Session, workers: int, cache: Cache) -> Iterable[Batch]:
    """The micro-batches from the next step on: those of the first phase, then those of an extra one."""
    recipe, plan, dataset, first_step = session.recipe, session.plan, session.dataset, session.progress.step
    attempts = 1 + (most_bad(recipe.data, num_samples(dataset)) if recipe.data.on_error == "skip" else 0)

    def phase(split: Split, samples: Samples, steps_per_epoch: int, first_epoch: int, steps: int) -> Iterable[Batch]:
        sampler = StepSampler(
            targets=samples.targets,
            sampling=recipe.sampling,
            seed=recipe.seed,
            effective_batch=plan.effective_batch,
            per_device_batch=plan.per_device_batch,
            steps_per_epoch=steps_per_epoch,
            first_step=min(max(first_step - plan.epochs.total_steps(first_epoch), 0), steps),
            last_step=steps,
            rank=session.world.rank,
            world_size=session.world.size,
            first_epoch=first_epoch,
            windows=None if samples.shards is None else Windows(samples.shards, recipe.data.window),
            weights=samples.weights,
        )
        read = dataset.training_reader(split, recipe.augment, recipe.preprocess, recipe.data.decode, cache(split))
        return train_loader(samples, read, sampler, seed=recipe.seed, attempts=attempts, workers=workers)

    if plan.extra is None:
        return phase("train", dataset.train, plan.steps_per_epoch, 0, plan.total_steps)
    first_epoch = plan.extra["first_epoch"]
    first_phase = plan.epochs.total_steps(first_epoch)
    split: Split = "train" if dataset.extra is None else "extra"
    return chain(
        phase("train", dataset.train, plan.steps_per_epoch, 0, first_phase),
        phase(
            split,
            dataset.extra or dataset.train,
            plan.extra["steps_per_epoch"],
            first_epoch,
            plan.total_steps - first_phase,
        ),
    )
