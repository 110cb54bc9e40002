"""The loop: from a plan and data to the weights of the best epoch, or of the last where nothing is judged."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path

from torch import nn

from convsmith.data.loader import Batch
from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.recipe.better import LOSS, is_better
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe
from convsmith.training.checkpoints.checkpoint import Checkpoint
from convsmith.training.checkpoints.writer import CheckpointWriter
from convsmith.training.divergence import STEPS, Diverged
from convsmith.training.evaluation import NotFinite, evaluate
from convsmith.training.fitting import advance_in_memory
from convsmith.training.observers.base import Record, RecordSplit, showing_first
from convsmith.training.parallel.distributed import gather, rest_before_fork
from convsmith.training.parallel.shares import total_norm
from convsmith.training.parts import Parts
from convsmith.training.progress import Progress
from convsmith.training.run import check_holder
from convsmith.training.stepper import Stepper

logger = logging.getLogger(__name__)

RECORD_EVERY = 100
"""Steps of an epoch from one record of its figures so far to the next; all processes wait for each other there."""

MIN_LOSS_SCALE = 1e-6  # 65536 at first; it is halved by each step without finite gradients


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
        self.recipe, self.parts, self.run_dir, self.state = recipe, parts, run_dir, progress
        self.stepper = Stepper(recipe, plan, parts, progress, checkpoint)
        self.epochs = plan.epochs
        self.writer = _writer(parts.world, run_dir, recipe.checkpoint.keep)
        self.last_save = time.monotonic()
        self.saved = (progress.step, progress.evaluated_step)

    def fit(self) -> None:
        """Train until the last step, an early stop, or a stop request; a checkpoint holds whatever was done.

        Raises:
            Diverged: the loss is not finite.
            OutOfMemory: the passes cannot be made small enough, or the run has to go on from its last checkpoint.
            ConvsmithError: a checkpoint cannot be written, or an image cannot be read.
        """
        try:
            self._fit()
            self.writer.wait()
        finally:
            self.writer.close()

    def _fit(self) -> None:
        plan, state, poll, stepper = self.stepper.plan, self.state, self.parts.poll, self.stepper
        if plan.total_steps == 0:
            self._judge_start()
        elif state.step == 0:
            stepper.source = showing_first(stepper.batches(), self.parts.observers)
        while not poll.stopping and not state.stopped_early:
            if self._epoch_is_over() and state.evaluated_step < state.step:
                self._end_epoch()
                continue
            if state.step == plan.total_steps:
                break
            self.writer.check()
            start = time.perf_counter()
            poll.open(self._time_to_save(), stepper.watch.steps >= STEPS)
            advance_in_memory(stepper, self.run_dir)
            poll.close()
            state.train_seconds += time.perf_counter() - start
            if poll.diverged:
                raise stepper.diverged()
            if not self._epoch_is_over() and self._steps_of_epoch() % RECORD_EVERY == 0:
                self._record("steps", self._figures())
            self._tell("train", state.step * plan.effective_batch, plan.total_steps * plan.effective_batch)
            if not self._epoch_is_over() and self._save_is_due():
                self._save()
        if poll.stopping and self.saved != (state.step, state.evaluated_step):
            self._save()

    def _judge_start(self) -> None:
        """Evaluate, record and save what a run without steps starts from."""
        self._check_weights()
        values = self._evaluate() if self.recipe.eval else {}
        if values is None:
            return
        if values:
            self._record("val", values)
        self._judge(values)
        self._gather()
        self._store()

    def _epoch_is_over(self) -> bool:
        return self.epochs.at(self.state.step)[1] == 0

    def _steps_of_epoch(self) -> int:
        """How many steps of the epoch that the last one belongs to are done."""
        return self.epochs.at(self.state.step - 1)[1] + 1

    def _end_epoch(self) -> None:
        """Evaluate, record, judge and save; leaves everything as it was when a stop request comes between."""
        state = self.state
        figures = self._figures()
        self._check_weights()
        self.stepper.forget_pass()
        judged = self.recipe.eval and self._evaluation_is_due()
        values = self._evaluate() if judged else {}
        if values is None:
            return
        self._record("train", figures)
        if values:
            self._record("val", values)
        state.evaluated_step = state.step
        state.train_seconds = state.data_seconds = 0.0
        self.stepper.loss_sum.zero_()
        self.stepper.gradients.begin_epoch()
        if judged or not self.recipe.eval:
            self._judge(values)
        self._gather()
        self._store()

    def _figures(self) -> dict[str, float]:
        """The figures of this epoch's steps so far.

        Raises:
            Diverged: their loss is not a finite number.
        """
        state, steps = self.state, self._steps_of_epoch()
        figures = {
            "loss": self._mean_loss(),
            "lr": self.stepper.plan.lr[state.step - 1] * state.lr_factor,
            "grad_norm": self.stepper.gradients.mean(steps),
            "images_per_second": steps * self.stepper.plan.effective_batch / state.train_seconds,
            "seconds": state.train_seconds,
            "step_seconds": state.train_seconds / steps,
            "data_seconds": state.data_seconds / steps,
        }
        scale = self.stepper.loss_scale
        return figures if scale is None else {**figures, "loss_scale": scale}

    def _evaluation_is_due(self) -> bool:
        epochs_done, _ = self.epochs.at(self.state.step)
        return epochs_done % self.recipe.eval_every == 0 or self.state.step == self.stepper.plan.total_steps

    def _judge(self, values: dict[str, float]) -> None:
        """Compare with the best so far and decide whether to go on; without metrics the newest is the best."""
        state, stopping, metric = self.state, self.recipe.early_stopping, self.recipe.metric
        if not state.best or not is_better(metric, state.best, values):
            state.best, state.best_step = values, state.step
        if not stopping:
            return
        if state.improved_to is None or is_better(metric, values, self._improved(), stopping.min_delta):
            state.improved_to, state.improved_loss = values[metric], values.get(LOSS)
            state.epochs_without_improvement = 0
            return
        state.epochs_without_improvement += 1
        if state.epochs_without_improvement >= stopping.patience:
            state.stopped_early = True
            logger.info(
                "stopped early: in %d validations %s has not become better than %.4f by more than %g",
                stopping.patience, metric, state.improved_to, stopping.min_delta,
            )  # fmt: skip

    def _improved(self) -> dict[str, float]:
        """The figures that early stopping compares with."""
        assert self.state.improved_to is not None
        figures: dict[str, float] = {self.recipe.metric: self.state.improved_to}
        return figures if self.state.improved_loss is None else {LOSS: self.state.improved_loss, **figures}

    def _evaluate(self) -> dict[str, float] | None:
        """The figures of what the recipe judges; of both, all of them by name besides those of the better one.

        Returns:
            The same in all processes, or None when a stop request came.

        Raises:
            Diverged: an answer, or the loss, is not finite.
        """
        model, ema = self.parts.model, self.stepper.ema
        if ema is None or self.recipe.ema is None or self.recipe.ema.judge == "model":
            return self._evaluate_model(model)
        averaged = self._evaluate_model(ema.model)
        if averaged is None or self.recipe.ema.judge == "ema":
            return averaged
        trained = self._evaluate_model(model)
        if trained is None:
            return None
        metric = self.recipe.metric
        self.state.judged = "model" if is_better(metric, trained, averaged) else "ema"
        logger.info(
            "judged by %s: the %s better (trained weights %.4f, their average %.4f)",
            metric, "trained weights are" if self.state.judged == "model" else "average is",
            trained[metric], averaged[metric],
        )  # fmt: skip
        named = {"model": trained, "ema": averaged}
        each = {f"{name}_{figure}": value for name, values in named.items() for figure, value in values.items()}
        return {**named[self.state.judged], **each}

    def _evaluate_model(self, model: nn.Module) -> dict[str, float] | None:
        """The metrics of one model on the validation images; see `_evaluate`."""
        parts, world, results, seen = self.parts, self.parts.world, self.parts.new_results(), 0

        def after_batch(batch: Batch) -> None:
            nonlocal seen
            self.stepper.record_bad_files(batch)
            seen += len(batch.targets) + len(batch.bad)
            self._tell("evaluate", min(seen * world.size, parts.num_val), parts.num_val)

        finished, wrong = False, None
        with self.stepper.replicas.whole(model):
            rest_before_fork(world)
            try:
                finished = evaluate(
                    model,
                    parts.task,
                    parts.as_input,
                    parts.val,
                    results,
                    after_batch=after_batch,
                    stopping=lambda: parts.poll.asked,
                )
            except NotFinite as error:
                wrong = error
        if found := [it for it in gather(world, wrong) if it is not None]:
            raise self._diverged_in_validation("a logit", found[0].layer)
        if not all(gather(world, finished)):
            parts.poll.now()
            return None
        results, *others = gather(world, results)
        for other in others:
            results.merge(other)
        values = results.compute()
        if math.isnan(values[self.recipe.metric]):
            raise ConvsmithError("no validation image can be read", fix="Repair or replace them.")
        if not all(map(math.isfinite, values.values())):
            raise self._diverged_in_validation("the loss")
        return values

    def _diverged_in_validation(self, what: str, layer: str | None = None) -> ConvsmithError:
        """The error of figures that mean nothing; checkpoints since the last validation may be as bad."""
        step, every = self.state.step, self.recipe.eval_every
        if step == 0:
            where = f"; the first layer with values that are not finite is `{layer}`" if layer else ""
            return ConvsmithError(
                f"{what} of validation images is not a finite number",
                f"the weights are not those of a model that works{where}",
                "Check model.weights, and whether they belong to this model.",
            )
        before = (self.epochs.at(step)[0] - 1) // every * every
        return Diverged(
            f"{what} of validation images is not a finite number after step {step}",
            layer,
            sound_until=self.epochs.total_steps(before),
        )

    def _mean_loss(self) -> float:
        """The mean training loss of this epoch's steps so far.

        Raises:
            Diverged: it is not a finite number.
        """
        self._gather()
        loss = sum(self.state.loss_sums) / len(self.state.loss_sums) / self._steps_of_epoch()
        scale = self.stepper.loss_scale
        if not math.isfinite(loss) or (scale is not None and scale < MIN_LOSS_SCALE):
            raise self.stepper.diverged()
        return loss

    def _gather(self) -> None:
        """Bring into the state what each process found out on its own."""
        state = self.state
        found = gather(self.parts.world, (float(self.stepper.loss_sum), state.bad_files))
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
            raise self.stepper.diverged()

    def _write_checkpoint(self) -> None:
        if self.parts.world.leads:
            check_holder(self.run_dir)
        self.state.norm_sum = self.stepper.gradients.total
        self.state.grad_scaler = self.stepper.scaler.state_dict() or None
        self.writer.save(self.state.step, self.stepper.tensors(), self.state.to_dict(), self.state.best_step)

    def _record(self, split: RecordSplit, values: dict[str, float]) -> None:
        record = Record(self.state.step, self.epochs.at(self.state.step)[0], split, values)
        for observer in self.parts.observers:
            observer.metrics(record)

    def _tell(self, phase: str, done: int, total: int) -> None:
        for observer in self.parts.observers:
            observer.progress(phase, done, total)


def _writer(world: World, run_dir: Path, keep: int) -> CheckpointWriter:
    """The writer of the model, in parts where each process has one."""
    folder = run_dir / "checkpoints"
    if not world.sharded:
        return CheckpointWriter(folder, keep)
    from convsmith.training.parallel.shard_writer import ShardWriter

    return ShardWriter(folder, keep, world)
