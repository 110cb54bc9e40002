"""The loop: from a plan and data to the weights of the best epoch, or of the last where nothing is judged."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace

from convsmith.recipe.better import LOSS, is_better
from convsmith.training.checkpoints.checkpoint import Checkpoint
from convsmith.training.checkpoints.writer import CheckpointWriter
from convsmith.training.fitting import advance_in_memory
from convsmith.training.judging_precision import judging_precision
from convsmith.training.observers.base import Record, RecordSplit
from convsmith.training.parallel.distributed import gather
from convsmith.training.parts import Parts
from convsmith.training.progress import Progress
from convsmith.training.run import check_holder
from convsmith.training.session import Session
from convsmith.training.stepper import Stepper
from convsmith.training.validation import Validated, judge_best_again, validate
from convsmith.training.validation_file import write_validation

logger = logging.getLogger(__name__)

RECORD_EVERY = 100
"""Steps of an epoch from one record of its figures so far to the next; all processes wait for each other there."""

MIN_LOSS_SCALE = 1e-6  # 65536 at first; it is halved by each step without finite gradients


class Trainer:
    """Trains along a plan, from a checkpoint's progress or from the start.

    Args:
        session: what to train, where to start; its progress changes as the run goes on.
        parts: model and data.
        checkpoint: the tensors that belong to the progress, None at the start.
    """

    def __init__(self, session: Session, parts: Parts, checkpoint: Checkpoint | None) -> None:
        self.session, self.parts = session, parts
        self.stepper = Stepper(session, parts, checkpoint)
        self.writer = _writer(session)
        self.last_save = time.monotonic()
        self.saved = (session.progress.step, session.progress.evaluated_step)

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
        session, state, poll, stepper = self.session, self.state, self.session.poll, self.stepper
        if session.plan.total_steps == 0:
            self._judge_start()
        elif state.step == 0:
            stepper.show_first_batch()
        while not poll.stopping and not state.stopped_early:
            if self._epoch_is_over() and state.evaluated_step < state.step:
                self._end_epoch()
                continue
            if state.step == session.plan.total_steps:
                break
            self.writer.check()
            start = time.perf_counter()
            poll.open(self._time_to_save(), stepper.is_diverging)
            advance_in_memory(stepper)
            poll.close()
            state.train_seconds += time.perf_counter() - start
            if poll.diverged:
                raise stepper.diverged()
            if not self._epoch_is_over() and self._steps_of_epoch() % RECORD_EVERY == 0:
                self._record("steps", self._figures())
            batch = session.plan.effective_batch
            session.tell("train", state.step * batch, session.plan.total_steps * batch)
            if not self._epoch_is_over() and self._save_is_due():
                self._save()
        if poll.stopping and self.saved != (state.step, state.evaluated_step):
            self._save()

    def _judge_start(self) -> None:
        """Evaluate, record and save what a run without steps starts from."""
        self.stepper.check_weights()
        found = validate(self.session, self.parts, self.stepper) if self.session.recipe.eval else Validated()
        if found is None:
            return
        if found.figures:
            self._record("val", found.figures)
        self._judge(found)
        self._gather()
        self._store()

    @property
    def state(self) -> Progress:
        """How far the training is."""
        return self.session.progress

    def _epoch_is_over(self) -> bool:
        return self.session.plan.epochs.at(self.state.step)[1] == 0

    def _steps_of_epoch(self) -> int:
        """How many steps of the epoch that the last one belongs to are done."""
        return self.session.plan.epochs.at(self.state.step - 1)[1] + 1

    def _end_epoch(self) -> None:
        """Evaluate, record, judge and save; leaves everything as it was when a stop request comes between."""
        state = self.state
        figures = self._figures()
        self.stepper.check_weights()
        self.stepper.forget_pass()
        judged = self.session.recipe.eval and self._evaluation_is_due()
        found = self._validate() if judged else Validated()
        if found is None:
            return
        self._record("train", figures)
        if found.figures:
            self._record("val", found.figures)
        state.evaluated_step = state.step
        state.train_seconds = state.data_seconds = 0.0
        self.stepper.begin_epoch()
        if judged or not self.session.recipe.eval:
            self._judge(found)
        self._gather()
        self._store()

    def _validate(self) -> Validated | None:
        """The results of a validation; None when a stop request came, or the same epoch is to be judged in float32.

        That is so for the last one of a run. Before figures of float32 are compared with others, these are measured so.
        """
        state = self.state
        parts = replace(self.parts, eval_precision=judging_precision(self.session))
        found = validate(self.session, parts, self.stepper)
        if found is None:
            return None
        if found.precision == "fp32" and state.best_precision != "fp32":
            self.writer.wait()
            best = judge_best_again(self.session, parts, self.stepper)
            if best is None:
                return None
            self._keep_best(best)
        if found.precision != "fp32" and self._would_stop(found.figures):
            state.fast_until = state.step - 1
            return None
        return found

    def _figures(self) -> dict[str, float]:
        """The figures of this epoch's steps so far.

        Raises:
            Diverged: their loss is not a finite number.
        """
        state, steps = self.state, self._steps_of_epoch()
        figures = {
            "loss": self._mean_loss(),
            "lr": self.session.plan.lr[state.step - 1] * state.lr_factor,
            "grad_norm": self.stepper.mean_gradient_norm(steps),
            "images_per_second": steps * self.session.plan.effective_batch / state.train_seconds,
            "seconds": state.train_seconds,
            "step_seconds": state.train_seconds / steps,
            "data_seconds": state.data_seconds / steps,
        }
        scale = self.stepper.loss_scale
        return figures if scale is None else {**figures, "loss_scale": scale}

    def _evaluation_is_due(self) -> bool:
        epochs_done, _ = self.session.plan.epochs.at(self.state.step)
        return epochs_done % self.session.recipe.eval_every == 0 or self.state.step == self.session.plan.total_steps

    def _judge(self, found: Validated) -> None:
        """Compare with the best so far and decide whether to go on; without metrics the newest is the best."""
        state, stopping, metric = self.state, self.session.recipe.early_stopping, self.session.recipe.metric
        values = found.figures
        if not state.best or not is_better(metric, state.best, values):
            state.best_step = state.step
            self._keep_best(found)
        if not stopping:
            return
        if self._improves(values, stopping.min_delta):
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

    def _keep_best(self, found: Validated) -> None:
        """Take the figures for those of the best step."""
        state = self.state
        state.best, state.best_tuned, state.best_precision = found.figures, found.tuned, found.precision
        if found.results is not None and self.session.world.leads:
            write_validation(self.session.run.path, found.figures, found.results, len(self.session.dataset.classes))

    def _improves(self, values: dict[str, float], by: float) -> bool:
        """Whether early stopping counts the figures as better."""
        metric = self.session.recipe.metric
        return self.state.improved_to is None or is_better(metric, values, self._improved(), by)

    def _would_stop(self, values: dict[str, float]) -> bool:
        """Whether early stopping would end the run after such figures."""
        stopping = self.session.recipe.early_stopping
        if stopping is None or self._improves(values, stopping.min_delta):
            return False
        return self.state.epochs_without_improvement + 1 >= stopping.patience

    def _improved(self) -> dict[str, float]:
        """The figures that early stopping compares with."""
        assert self.state.improved_to is not None
        figures: dict[str, float] = {self.session.recipe.metric: self.state.improved_to}
        return figures if self.state.improved_loss is None else {LOSS: self.state.improved_loss, **figures}

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
        found = gather(self.session.world, (float(self.stepper.loss_sum), state.bad_files))
        state.loss_sums = [loss_sum for loss_sum, _ in found]
        for _, bad_files in found:
            self.session.bad_files.merge(bad_files, state.bad_files)

    def _save_is_due(self) -> bool:
        steps = self.session.recipe.checkpoint.every_steps
        return self.session.poll.saving or (steps is not None and self.state.step % steps == 0)

    def _time_to_save(self) -> bool:
        """Whether it is time by the first process's clock."""
        minutes = self.session.recipe.checkpoint.every_minutes
        return self.session.world.leads and minutes is not None and time.monotonic() - self.last_save >= 60 * minutes

    def _save(self) -> None:
        """Write a checkpoint, unless the run has diverged, whose weights are not worth one."""
        if self.state.step and self.state.evaluated_step < self.state.step:
            self._mean_loss()
        else:
            self._gather()
        self.stepper.check_weights()
        self._store()

    def _store(self) -> None:
        """All processes have to come here, and the first one writes, or all their shares."""
        if self.session.world.leads or self.session.world.sharded:
            self._write_checkpoint()
        self.last_save = time.monotonic()
        self.saved = (self.state.step, self.state.evaluated_step)

    def _write_checkpoint(self) -> None:
        if self.session.world.leads:
            check_holder(self.session.run.path)
        state, tensors = self.state, self.stepper.tensors()
        self.writer.save(state.step, tensors, state.to_dict(), state.best_step)

    def _record(self, split: RecordSplit, values: dict[str, float]) -> None:
        record = Record(self.state.step, self.session.plan.epochs.at(self.state.step)[0], split, values)
        for observer in self.session.observers:
            observer.metrics(record)


def _writer(session: Session) -> CheckpointWriter:
    """The writer of the model, in parts where each process has one."""
    folder, keep = session.run.checkpoints, session.recipe.checkpoint.keep
    if not session.world.sharded:
        return CheckpointWriter(folder, keep)
    from convsmith.training.parallel.shard_writer import ShardWriter

    return ShardWriter(folder, keep, session.world)
