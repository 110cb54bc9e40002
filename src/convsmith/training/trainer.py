"""The loop: from a plan and data to the weights of the best epoch, or of the last where nothing is judged."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from convsmith.data.loader import Batch, raise_on_bad
from convsmith.errors import ConvsmithError
from convsmith.launch.report import OUT_OF_MEMORY
from convsmith.launch.world import World
from convsmith.randomness import Stream, counter_seed
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe
from convsmith.tasks.base import Results, Task
from convsmith.training.bad_files import BadFiles
from convsmith.training.checkpoint import Checkpoint
from convsmith.training.distributed import Poll, gather, rest_before_fork
from convsmith.training.divergence import STEPS, Diverged, LossWatch
from convsmith.training.ema import Ema, decay_after
from convsmith.training.evaluation import evaluate
from convsmith.training.gradients import GradientNorm
from convsmith.training.memory import OutOfMemory, depends_on_batch, is_out_of_memory, smaller_batch
from convsmith.training.observers.base import Observer, Record, showing_first
from convsmith.training.optim import make_optimizer, optimizer_tensors, restore_optimizer
from convsmith.training.precision import Precision, autocast
from convsmith.training.progress import Progress
from convsmith.training.replicas import Replicas
from convsmith.training.run import Run, check_holder, limit_forward_batch
from convsmith.training.run_weights import judged_weights
from convsmith.training.shares import load_whole, total_norm
from convsmith.training.tricks import EachEpoch
from convsmith.training.writer import CheckpointWriter

logger = logging.getLogger(__name__)

MIN_LOSS_SCALE = 1e-6  # 65536 at first; it is halved by each step without finite gradients


@dataclass(frozen=True)
class Parts:
    """What a trainer works with.

    Attributes:
        model: on its device, in its memory layout.
        normalize: uint8 images to the model's input, on the same device.
        channels_last: whether images have the memory layout NHWC, as the model has.
        batches: this process's micro-batches of a plan from a step on, in order.
        val: its share of the validation images, each once; iterated after each epoch if the recipe evaluates.
        observers: empty in all processes but the first.
        new_results: makes an empty collection for one evaluation.
    """

    model: nn.Module
    normalize: nn.Module
    channels_last: bool
    task: Task
    batches: Callable[[Plan, int], Iterable[Batch]]
    val: Iterable[Batch]
    num_val: int
    new_results: Callable[[], Results]
    device: torch.device
    precision: Precision
    bad_files: BadFiles
    observers: Sequence[Observer]
    poll: Poll
    world: World

    def as_input(self, images: Tensor) -> Tensor:
        """The model's input from uint8 images, on its device and in its layout."""
        images = images.to(self.device, non_blocking=True)
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        normalized: Tensor = self.normalize(images)
        return normalized


class Trainer:
    """Trains along a plan, from a checkpoint's progress or from the start.

    Args:
        recipe: what to train.
        plan: its numbers; `groups` must be filled.
        parts: model, data and watchers.
        run_dir: the run's directory.
        progress: where to start; changed as the run goes on.
        checkpoint: the tensors that belong to `progress`, None at the start.
    """

    def __init__(
        self, recipe: Recipe, plan: Plan, parts: Parts, run_dir: Path, progress: Progress, checkpoint: Checkpoint | None
    ) -> None:
        assert plan.groups is not None
        self.recipe, self.plan, self.parts, self.run_dir, self.state = recipe, plan, parts, run_dir, progress
        self.ema = Ema(parts.model) if recipe.ema else None
        self.replicas, self.writer = _together(parts, run_dir, recipe, compiled=bool(progress.compiled))
        if self.ema:
            self.replicas.spread(self.ema.model)
        self.optimizer = make_optimizer(parts.model, recipe.optimizer, plan.groups)
        self.epochs = plan.epochs
        self.each_epoch = EachEpoch(parts.model, recipe, plan)
        self.scaler = torch.amp.GradScaler(parts.device.type, enabled=parts.precision == "fp16")
        if checkpoint:
            self._restore(checkpoint)
        # The sum stays on the device: reading it every step would make the loop wait.
        self.loss_sum = torch.tensor(progress.loss_sums[parts.world.rank], dtype=torch.float64, device=parts.device)
        self.gradients = GradientNorm(recipe.clip_grad_norm, progress.norm_sum, parts.device)
        self.watch = LossWatch(parts.model)
        self.last_save = time.monotonic()
        self.saved = (progress.step, progress.evaluated_step)
        self.begun_epoch = -1

    def fit(self) -> None:
        """Train until the last step, an early stop, or a stop request; a checkpoint holds whatever was done.

        Raises:
            Diverged: the loss is not finite.
            OutOfMemory: not even one image at a time can be trained on.
            ConvsmithError: a checkpoint cannot be written, or an image cannot be read.
        """
        try:
            self._fit()
            self.writer.wait()
        finally:
            self.writer.close()

    def _fit(self) -> None:
        plan, state, poll = self.plan, self.state, self.parts.poll
        batches = self.batches()
        if state.step == 0:
            batches = showing_first(batches, self.parts.observers)
        while not poll.stopping and not state.stopped_early:
            if self._epoch_is_over() and state.evaluated_step < state.step:
                self._end_epoch()
                continue
            if state.step == plan.total_steps:
                break
            self.writer.check()
            start = time.perf_counter()
            poll.open(self._time_to_save(), self.watch.steps >= STEPS)
            if not self._fits_into_memory(batches):
                batches = self.batches()
                continue
            poll.close()
            state.train_seconds += time.perf_counter() - start
            if poll.diverged:
                raise Diverged(state.step, self.watch.layer)
            self._tell("train", state.step * plan.effective_batch, plan.total_steps * plan.effective_batch)
            if not self._epoch_is_over() and self._save_is_due():
                self._save()
        if poll.stopping and self.saved != (state.step, state.evaluated_step):
            self._save()

    def batches(self) -> Iterator[Batch]:
        """This process's micro-batches from the next step on."""
        rest_before_fork(self.parts.world)
        return iter(self.parts.batches(self.plan, self.state.step))

    def _fits_into_memory(self, batches: Iterator[Batch]) -> bool:
        """Take the next step; or, where memory is too small for it, let the plan take it in smaller passes."""
        alone = self.parts.world.size == 1
        buffers = [buffer.clone() for buffer in self.parts.model.buffers()] if alone else []
        try:
            self.advance(batches)
            return True
        except OutOfMemory as error:
            less = smaller_batch(self.plan.per_device_batch)
            if less is None:
                raise
            if not alone:  # the others wait for what this one cannot give
                limit_forward_batch(self.run_dir, less)
                error.fix = f"The same command goes on from the last checkpoint with {less} in a forward pass."
                error.exit_code = OUT_OF_MEMORY
                raise
            reason = error.why
        self.optimizer.zero_grad()
        for buffer, before in zip(self.parts.model.buffers(), buffers, strict=True):
            buffer.copy_(before)
        if self.parts.device.type == "cuda":
            torch.cuda.empty_cache()
        more = self.plan.accumulation * self.plan.per_device_batch // less
        logger.warning(
            "out of memory with %d images in a forward pass (%s): step %d is taken in %d passes of %d images, "
            "and so are those after it%s",
            self.plan.per_device_batch, reason, self.state.step + 1, more, less,
            "; BatchNorm takes its statistics over those" if depends_on_batch(self.parts.model) else "",
        )  # fmt: skip
        self.plan = replace(self.plan, per_device_batch=less, accumulation=more)
        self.state.per_device_batch = less
        Run(self.run_dir).write_down(self.recipe, self.plan)
        return False

    def advance(self, batches: Iterator[Batch]) -> Tensor:
        """Take the plan's next optimizer step, and nothing else; its loss, a scalar on the device."""
        epoch, _ = self.epochs.at(self.state.step)
        if self.begun_epoch != epoch:
            self.begun_epoch = epoch
            self.each_epoch.begin(epoch)
            self.replicas.begin_epoch()
        loss = self._step(batches)
        self.state.step += 1
        return loss

    def _step(self, batches: Iterator[Batch]) -> Tensor:
        """One optimizer step: `accumulation` forward and backward passes; the sum of this process's losses."""
        plan, parts, world, step = self.plan, self.parts, self.parts.world, self.state.step
        epoch, _ = self.epochs.at(step)
        for group in self.optimizer.param_groups:
            group["lr"] = plan.lr[step] * group["lr_scale"] * self.state.lr_factor
            if plan.weight_decay is not None and group["decay_moves"]:
                group["weight_decay"] = plan.weight_decay[step]
        losses = []
        for micro_batch in range(plan.accumulation):
            start = time.perf_counter()
            batch = next(batches)
            self.state.data_seconds += time.perf_counter() - start
            self._take_note_of_bad_files(batch)
            # numbered as in the sampler, so that it does not matter which process it falls to
            number = micro_batch * world.size + world.rank
            seed = counter_seed(Stream.STEP, self.recipe.seed, step, 0, number)
            losses.append(self._pass(batch, seed, epoch, is_last=micro_batch == plan.accumulation - 1))
        for loss in losses:
            # a step that loss scaling skips may have no finite loss; _mean_loss finds a run that has only such steps
            self.loss_sum += loss.nan_to_num(0, 0, 0) if self.scaler.is_enabled() else loss
        self.watch.end_step()
        self.gradients.measure(parts.model, self.epochs.at(step)[1], self.scaler, self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.ema:
            decay = decay_after(self.recipe, self.epochs, step)
            if decay is not None:
                self.ema.update(decay)
        return torch.stack(losses).sum()

    def _pass(self, batch: Batch, seed: int, epoch: int, is_last: bool) -> Tensor:
        """One forward and backward pass of a step; its part of the loss, a scalar on the device."""
        parts = self.parts

        def forward(model: nn.Module) -> Tensor:
            torch.manual_seed(seed)
            with autocast(parts.precision, parts.device.type):
                return parts.task.training_loss(model, images, targets, epoch) / self.plan.accumulation

        try:
            images = parts.as_input(batch.images)
            targets = batch.targets.to(parts.device, non_blocking=True)
            with self.replicas.pass_of_step(is_last):
                loss = forward(self.replicas.model)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise OutOfMemory(self.plan.per_device_batch, str(error).splitlines()[0]) from None
            raise
        if not self.scaler.is_enabled():
            self.watch.look(loss.detach(), partial(forward, parts.model) if self.replicas.computes_alone else None)
        return loss.detach()

    def _epoch_is_over(self) -> bool:
        return self.epochs.at(self.state.step)[1] == 0

    def _steps_of_epoch(self) -> int:
        """How many steps of the epoch that the last one belongs to are done."""
        return self.epochs.at(self.state.step - 1)[1] + 1

    def _end_epoch(self) -> None:
        """Evaluate, record, judge and save; leaves everything as it was when a stop request comes between."""
        state = self.state
        loss = self._mean_loss()
        self._check_weights()
        judged = self.recipe.eval and self._evaluation_is_due()
        values = self._evaluate() if judged else {}
        if values is None:
            return
        self._record("train", {"loss": loss, **self._figures()})
        if values:
            self._record("val", values)
        state.evaluated_step = state.step
        state.train_seconds = state.data_seconds = 0.0
        self.loss_sum.zero_()
        self.gradients.begin_epoch()
        if judged or not self.recipe.eval:
            self._judge(values)
        self._gather()
        self._store()

    def _figures(self) -> dict[str, float]:
        """What is known of this epoch's steps besides their loss."""
        state, steps = self.state, self._steps_of_epoch()
        figures = {
            "lr": self.plan.lr[state.step - 1] * state.lr_factor,
            "grad_norm": self.gradients.mean(steps),
            "images_per_second": steps * self.plan.effective_batch / state.train_seconds,
            "seconds": state.train_seconds,
            "step_seconds": state.train_seconds / steps,
            "data_seconds": state.data_seconds / steps,
        }
        return {**figures, "loss_scale": self.scaler.get_scale()} if self.scaler.is_enabled() else figures

    def _evaluation_is_due(self) -> bool:
        epochs_done, _ = self.epochs.at(self.state.step)
        return epochs_done % self.recipe.eval_every == 0 or self.state.step == self.plan.total_steps

    def _judge(self, values: dict[str, float]) -> None:
        """Compare with the best so far and decide whether to go on; without metrics the newest is the best."""
        state, stopping, metric = self.state, self.recipe.early_stopping, self.parts.task.metric
        if state.best is None or not values or values[metric] > state.best[metric]:
            state.best, state.best_step = values, state.step
        if not stopping:
            return
        if state.improved_to is None or values[metric] > state.improved_to + stopping.min_delta:
            state.improved_to, state.epochs_without_improvement = values[metric], 0
            return
        state.epochs_without_improvement += 1
        if state.epochs_without_improvement >= stopping.patience:
            state.stopped_early = True
            logger.info(
                "stopped early: in %d validations %s has not risen by more than %g above %.4f",
                stopping.patience, metric, stopping.min_delta, state.improved_to,
            )  # fmt: skip

    def _evaluate(self) -> dict[str, float] | None:
        """The metrics on the validation images, the same in all processes, or None when a stop request came."""
        parts, world, results, seen = self.parts, self.parts.world, self.parts.new_results(), 0
        model = self.ema.model if self.ema and judged_weights(self.recipe) == "ema" else parts.model

        def after_batch(batch: Batch) -> bool:
            nonlocal seen
            self._take_note_of_bad_files(batch)
            seen += len(batch.targets) + len(batch.bad)
            self._tell("evaluate", min(seen * world.size, parts.num_val), parts.num_val)
            return not parts.poll.asked

        with self.replicas.whole(model):
            rest_before_fork(world)
            finished = evaluate(model, parts.task, parts.as_input, parts.val, results, after_batch)
        if not all(gather(world, finished)):
            parts.poll.now()
            return None
        results, *others = gather(world, results)
        for other in others:
            results.merge(other)
        values = results.compute()
        if math.isnan(values[parts.task.metric]):
            raise ConvsmithError("no validation image can be read", fix="Repair or replace them.")
        return values

    def _mean_loss(self) -> float:
        """The mean training loss of this epoch's steps so far.

        Raises:
            Diverged: it is not a finite number.
        """
        self._gather()
        loss = sum(self.state.loss_sums) / len(self.state.loss_sums) / self._steps_of_epoch()
        if not math.isfinite(loss) or (self.scaler.is_enabled() and self.scaler.get_scale() < MIN_LOSS_SCALE):
            raise Diverged(self.state.step, self.watch.layer)
        return loss

    def _gather(self) -> None:
        """Bring into the state what each process found out on its own."""
        state = self.state
        found = gather(self.parts.world, (float(self.loss_sum), state.bad_files))
        state.loss_sums = [loss_sum for loss_sum, _ in found]
        for _, bad_files in found:
            self.parts.bad_files.merge(bad_files, state.bad_files)

    def _save_is_due(self) -> bool:
        steps = self.recipe.checkpoint.every_steps
        return self.parts.poll.saving or (steps is not None and self.state.step % steps == 0)

    def _time_to_save(self) -> bool:
        """Whether it is time by the first process's clock."""
        minutes = self.recipe.checkpoint.every_minutes
        return self.parts.world.leads and minutes is not None and time.monotonic() - self.last_save >= 60 * minutes

    def _save(self) -> None:
        """Write a checkpoint, unless the run has diverged, whose weights are not worth one."""
        if self.state.step and self.state.evaluated_step < self.state.step:
            self._mean_loss()
        else:
            self._gather()
        self._check_weights()
        self._store()

    def _store(self) -> None:
        """All processes have to come here, and the first one writes, or all their shares."""
        if self.parts.world.leads or self.parts.world.sharded:
            self._write_checkpoint()
        self.last_save = time.monotonic()
        self.saved = (self.state.step, self.state.evaluated_step)

    def _check_weights(self) -> None:
        if not bool(total_norm(self.parts.model.parameters()).isfinite()):
            raise Diverged(self.state.step)

    def _write_checkpoint(self) -> None:
        if self.parts.world.leads:
            check_holder(self.run_dir)
        self.state.norm_sum = self.gradients.total
        self.state.grad_scaler = self.scaler.state_dict() or None
        tensors = {"model": self.parts.model.state_dict(), "optimizer": optimizer_tensors(self.optimizer)}
        if self.ema:
            tensors["ema"] = self.ema.model.state_dict()
        self.writer.save(self.state.step, tensors, self.state.to_dict(), self.state.best_step)

    def _restore(self, checkpoint: Checkpoint) -> None:
        load_whole(self.parts.model, checkpoint.tensors["model"])
        restore_optimizer(self.optimizer, checkpoint.tensors["optimizer"])
        if self.ema:
            load_whole(self.ema.model, checkpoint.tensors["ema"])
        if self.state.grad_scaler:
            self.scaler.load_state_dict(self.state.grad_scaler)

    def _take_note_of_bad_files(self, batch: Batch) -> None:
        if batch.bad and self.recipe.data.on_error == "error":
            raise_on_bad(batch)
        self.parts.bad_files.add(batch.bad, self.state.bad_files)

    def _record(self, split: Literal["train", "val"], values: dict[str, float]) -> None:
        record = Record(self.state.step, self.epochs.at(self.state.step)[0], split, values)
        for observer in self.parts.observers:
            observer.metrics(record)

    def _tell(self, phase: str, done: int, total: int) -> None:
        for observer in self.parts.observers:
            observer.progress(phase, done, total)


def _together(parts: Parts, run_dir: Path, recipe: Recipe, compiled: bool) -> tuple[Replicas, CheckpointWriter]:
    """How the processes compute with one model, and how they save it."""
    folder, keep, world = run_dir / "checkpoints", recipe.checkpoint.keep, parts.world
    if not world.sharded:
        return Replicas(parts.model, world, compiled), CheckpointWriter(folder, keep)
    from convsmith.training.shard_writer import ShardWriter
    from convsmith.training.sharding import Shards

    return Shards(parts.model, world), ShardWriter(folder, keep, world)
