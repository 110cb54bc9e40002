"""The optimizer steps of a plan: forward and backward passes, the update, the average of the weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from convsmith.data.loading.loader import Batch
from convsmith.launch.world import World
from convsmith.randomness import Stream, counter_seed
from convsmith.training.checkpoints.checkpoint import Checkpoint
from convsmith.training.divergence import STEPS, Diverged, LossWatch, first_non_finite
from convsmith.training.memory import out_of_memory_is_named
from convsmith.training.observers.base import showing_first
from convsmith.training.parallel.distributed import gather, rest_before_fork
from convsmith.training.parallel.replicas import Replicas
from convsmith.training.parallel.shares import load_whole, total_norm
from convsmith.training.parts import Parts
from convsmith.training.precision import autocast, sum_dtype
from convsmith.training.session import Session
from convsmith.training.update.ema import Ema, decay_after
from convsmith.training.update.gradients import GradientNorm
from convsmith.training.update.optim import make_optimizer, optimizer_tensors, restore_optimizer
from convsmith.training.update.tricks import EachEpoch


class Stepper:
    """Takes the steps of a plan, from a checkpoint's progress or from the start.

    Args:
        session: what to train; its progress changes as the steps are taken.
        parts: model and data.
        checkpoint: the tensors that belong to the progress, which it gives up; None at the start.

    Attributes:
        source: this process's micro-batches from the next step on; None before they are asked for.
    """

    def __init__(self, session: Session, parts: Parts, checkpoint: Checkpoint | None) -> None:
        recipe, plan, progress = session.recipe, session.plan, session.progress
        assert plan.groups is not None
        self.session, self.parts = session, parts
        self.ema = Ema(parts.model) if recipe.ema else None
        self.replicas = _replicas(parts.model, session.world, compiled=bool(progress.compiled))
        if self.ema:
            self.replicas.spread(self.ema.model)
        self.optimizer = make_optimizer(parts.model, recipe.optimizer, plan.groups)
        self.scaler = torch.amp.GradScaler(parts.device.type, enabled=parts.precision == "fp16")
        if checkpoint:
            self._restore(checkpoint)
        # The sum stays on the device: reading it every step would make the loop wait.
        own_sum = progress.loss_sums[session.world.rank]
        self.loss_sum = torch.tensor(own_sum, dtype=sum_dtype(parts.device), device=parts.device)
        self.gradients = GradientNorm(recipe.clip_grad_norm, progress.norm_sum, parts.device)
        self.watch = LossWatch(parts.model)
        self._each_epoch = EachEpoch(parts.model, recipe, plan)
        self._begun_epoch = -1
        self._compiles = bool(progress.compiled)
        self.source: Iterator[Batch] | None = None
        self._last_pass: Callable[[], Tensor] | None = None

    def batches(self) -> Iterator[Batch]:
        """Make the first value of `source`."""
        rest_before_fork(self.session.world)
        return iter(self.parts.batches())

    def show_first_batch(self) -> None:
        """Let the observers see the images of the next step."""
        self.source = showing_first(self.batches(), self.session.observers)

    def advance(self) -> Tensor:
        """Take the plan's next step, and nothing else; the sum of this process's losses, a scalar on the device.

        Raises:
            OutOfMemory: a pass, or the update, did not fit.
        """
        plan, progress = self.session.plan, self.session.progress
        epoch, _ = plan.epochs.at(progress.step)
        if self._begun_epoch != epoch:
            self._begun_epoch = epoch
            self._each_epoch.begin(epoch)
            with out_of_memory_is_named(plan.per_device_batch, in_update=True):
                self.replicas.begin_epoch()
        self.source = self.source or self.batches()
        first, self._compiles = self._compiles, False
        # passes that compile take long, and leave nothing worth saving
        with self.session.poll.leaving_at_once() if first else nullcontext():
            losses = self._passes(self.source, epoch)
        with out_of_memory_is_named(plan.per_device_batch, in_update=True):
            self._update(losses)
        progress.step += 1
        return torch.stack(losses).sum()

    def undo_passes(self) -> None:
        """Drop what the passes of a step that was not finished have left, and its batches."""
        self.optimizer.zero_grad()
        self.source, self._begun_epoch = None, -1
        self.forget_pass()

    def forget_pass(self) -> None:
        """Let go of the last batch."""
        self._last_pass = None

    def check_weights(self) -> None:
        """Raise a Diverged if a weight is not a finite number; all processes have to come here."""
        if not bool(total_norm(self.parts.model.parameters()).isfinite()):
            raise self.diverged()

    def diverged(self) -> Diverged:
        """Error of a loss that is not finite, with the layer where that began; all processes have to come here."""
        world, watch = self.session.world, self.watch
        if self._last_pass is not None and not any(gather(world, watch.layer is not None)):
            watch.layer = first_non_finite(self.parts.model, self._last_pass)
        # The process that had it first knows best: the weights of the others have gone wrong by its gradients.
        _, layer = max(gather(world, (watch.steps, watch.layer or "")))
        return Diverged(
            f"the training loss is not a finite number up to step {self.session.progress.step}", layer or None
        )

    @property
    def is_diverging(self) -> bool:
        """Whether the loss has not been finite for many steps."""
        return self.watch.steps >= STEPS

    def whole(self, model: nn.Module) -> AbstractContextManager[None]:
        """Let a model that is shared out be whole in each process while the block runs."""
        return self.replicas.whole(model)

    def begin_epoch(self) -> None:
        """Sum anew what is summed over an epoch."""
        self.loss_sum.zero_()
        self.gradients.begin_epoch()

    def mean_gradient_norm(self, steps: int) -> float:
        """The mean norm of the gradients, before clipping, over so many steps of the epoch."""
        return self.gradients.mean(steps)

    @property
    def loss_scale(self) -> float | None:
        """The factor of the loss in fp16, None in other precisions."""
        return self.scaler.get_scale() if self.scaler.is_enabled() else None

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The tensors of a checkpoint, by file; the progress gets the sums that belong to them."""
        self.session.progress.norm_sum = self.gradients.total
        self.session.progress.grad_scaler = self.scaler.state_dict() or None
        tensors = {"model": self.parts.model.state_dict(), "optimizer": optimizer_tensors(self.optimizer)}
        if self.ema:
            tensors["ema"] = self.ema.model.state_dict()
        return tensors

    def _passes(self, batches: Iterator[Batch], epoch: int) -> list[Tensor]:
        """`accumulation` forward and backward passes; their losses."""
        session, plan, world = self.session, self.session.plan, self.session.world
        losses = []
        for micro_batch in range(plan.accumulation):
            start = time.perf_counter()
            batch = next(batches)
            session.progress.data_seconds += time.perf_counter() - start
            session.record_bad_files(batch)
            # numbered as in the sampler, so that it does not matter which process it falls to
            number = micro_batch * world.size + world.rank
            seed = counter_seed(Stream.STEP, session.recipe.seed, session.progress.step, 0, number)
            losses.append(self._pass(batch, seed, epoch, is_last=micro_batch == plan.accumulation - 1))
        return losses

    def _pass(self, batch: Batch, seed: int, epoch: int, is_last: bool) -> Tensor:
        """One forward and backward pass of a step; its part of the loss, a scalar on the device."""
        parts, plan, self._last_pass = self.parts, self.session.plan, None

        def forward(model: nn.Module) -> Tensor:
            torch.manual_seed(seed)
            with autocast(parts.precision, parts.device.type):
                return parts.objective(model, images, targets, epoch) / plan.accumulation

        with out_of_memory_is_named(plan.per_device_batch):
            images = parts.as_input(batch.images)
            targets = batch.targets.to(parts.device, non_blocking=True)
            with self.replicas.pass_of_step(is_last):
                loss = forward(self.replicas.model)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._last_pass = partial(forward, parts.model)
        if not self.scaler.is_enabled():
            self.watch.look(loss.detach(), self._last_pass if self.replicas.computes_alone else None)
        return loss.detach()

    def _update(self, losses: list[Tensor]) -> None:
        """Let the weights, and their average, follow the gradients."""
        recipe, plan, progress = self.session.recipe, self.session.plan, self.session.progress
        step = progress.step
        for loss in losses:
            # a step that loss scaling skips may have no finite loss; a run that has only such steps is found when its
            # figures are
            self.loss_sum += loss.nan_to_num(0, 0, 0) if self.scaler.is_enabled() else loss
        self.watch.end_step()
        for group in self.optimizer.param_groups:
            group["lr"] = plan.lr[step] * group["lr_scale"] * progress.lr_factor
            if plan.weight_decay is not None and group["decay_moves"]:
                group["weight_decay"] = plan.weight_decay[step]
        self.gradients.measure(self.parts.model, plan.epochs.at(step)[1], self.scaler, self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        decay = decay_after(recipe, plan.epochs, step) if self.ema else None
        if self.ema and decay is not None:
            self.ema.update(decay)

    def _restore(self, checkpoint: Checkpoint) -> None:
        load_whole(self.parts.model, checkpoint.tensors["model"])
        restore_optimizer(self.optimizer, checkpoint.tensors["optimizer"])
        if self.ema:
            load_whole(self.ema.model, checkpoint.tensors["ema"])
        if self.session.progress.grad_scaler:
            self.scaler.load_state_dict(self.session.progress.grad_scaler)
        checkpoint.tensors.clear()  # whoever has read it holds on to it as long as the training goes


def _replicas(model: nn.Module, world: World, compiled: bool) -> Replicas:
    """How the processes compute with one model."""
    if not world.sharded:
        return Replicas(model, world, compiled)
    from convsmith.training.parallel.sharding import Shards

    return Shards(model, world)
