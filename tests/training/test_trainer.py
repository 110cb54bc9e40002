"""The loop on a linear model whose numbers can be followed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from convsmith.data.loading.loader import Batch
from convsmith.errors import ConvsmithError
from convsmith.training.checkpoints.checkpoint import latest_checkpoint
from convsmith.training.observers.base import Record
from convsmith.training.signals import StopNow
from convsmith.training.trainer import Trainer
from convsmith.training.validation import Validated
from tests.training.linear_trainer import SIZE, note_groups, stop_during_step, trainer, weights


def test_a_long_epoch_tells_how_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convsmith.training.trainer.RECORD_EVERY", 2)
    made, notes = trainer(tmp_path, "eval=false")
    losses, advance = [], made.stepper.advance

    def noted() -> Tensor:
        losses.append(float(advance()))
        return torch.tensor(losses[-1])

    monkeypatch.setattr(made.stepper, "advance", noted)
    made.fit()
    assert [(it.split, it.step) for it in notes.records] == [("steps", 2), ("train", 4), ("steps", 6), ("train", 8)]
    assert notes.records[0].values["loss"] == pytest.approx(sum(losses[:2]) / 2)
    assert notes.records[2].values["loss"] == pytest.approx(sum(losses[4:6]) / 2)


@pytest.mark.parametrize(("minutes", "saved"), [("1e-9", 8), ("null", 2)])
def test_checkpoints_are_written_when_their_minutes_have_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: str, saved: int
) -> None:
    made, _ = trainer(tmp_path, f"checkpoint.every_minutes={minutes}")
    stored, store = set(), made._store

    def noted() -> None:
        stored.add(made.state.step)
        store()

    monkeypatch.setattr(made, "_store", noted)
    made.fit()
    assert len(stored) == saved


def test_accumulation_gives_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    whole, whole_notes = trainer(tmp_path / "whole")
    parts, parts_notes = trainer(tmp_path / "parts", "batch.per_device=2")
    assert parts.session.plan.accumulation == 3
    whole.fit()
    parts.fit()
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-5, atol=1e-6)
    for one, two in zip(whole_notes.records, parts_notes.records, strict=True):
        assert one.values["loss"] == pytest.approx(two.values["loss"], rel=1e-5)


def test_the_learning_rate_of_every_step_is_the_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = trainer(tmp_path)
    used = note_groups(made, "lr", monkeypatch)
    made.fit()
    assert used == [[lr] for lr in made.session.plan.lr]


def test_clipping_bounds_the_first_step(tmp_path: Path) -> None:
    made, _ = trainer(
        tmp_path, "clip_grad_norm=0.001", "optimizer.weight_decay=0", "schedule.epochs=1", "optimizer.nesterov=false"
    )
    before = {name: value.clone() for name, value in made.parts.model.state_dict().items()}
    made.stepper.advance()
    moved = torch.cat([(v - before[k]).flatten() for k, v in made.parts.model.state_dict().items()])
    assert moved.norm().item() == pytest.approx(0.001 * made.session.plan.lr[0], rel=1e-3)


def test_early_stopping_ends_after_patience_epochs_without_improvement(tmp_path: Path) -> None:
    images = torch.zeros(5, 3, SIZE, SIZE, dtype=torch.uint8)
    same_class = [Batch(images, torch.zeros(5, dtype=torch.int64), [])]
    made, notes = trainer(
        tmp_path, "schedule.epochs=9", "early_stopping.patience=2", "early_stopping.min_delta=1.5", val=same_class
    )
    made.fit()
    assert made.state.stopped_early
    assert notes.records[-1].epoch == 3


def judged(tmp_path: Path, figures: list[float], *overrides: str) -> Trainer:
    """A trainer that has ended an epoch with each of these figures, unless it stopped before."""
    made, _ = trainer(tmp_path, *overrides)
    for epoch, figure in enumerate(figures, start=1):
        if not made.state.stopped_early:
            made.state.step = epoch
            made._judge(Validated({"top1": figure, "balanced_accuracy": 1 - figure}))
    return made


def test_the_best_epoch_is_the_best_however_little_early_stopping_counts(tmp_path: Path) -> None:
    stopping = ("early_stopping.patience=3", "early_stopping.min_delta=0.4")
    made = judged(tmp_path, [0.1, 0.3, 0.45, 0.44, 0.9], *stopping)
    assert made.state.stopped_early
    assert (made.state.step, made.state.best_step) == (4, 3)


def test_small_improvements_that_add_up_are_one_to_early_stopping(tmp_path: Path) -> None:
    made = judged(tmp_path, [0.1, 0.2, 0.31, 0.4, 0.5], "early_stopping.patience=2", "early_stopping.min_delta=0.2")
    assert made.state.stopped_early
    assert made.state.improved_to == 0.31


def test_the_best_epoch_is_chosen_by_the_recipes_metric(tmp_path: Path) -> None:
    assert judged(tmp_path, [0.1, 0.3, 0.2]).state.best_step == 2
    assert judged(tmp_path, [0.1, 0.3, 0.2], "metric=balanced_accuracy").state.best_step == 1


def judged_with_losses(tmp_path: Path, figures: list[tuple[float, float]], *overrides: str) -> Trainer:
    """A trainer that has ended an epoch with each pair of top-1 and loss, unless it stopped before."""
    made, _ = trainer(tmp_path, *overrides)
    for epoch, (top1, loss) in enumerate(figures, start=1):
        if not made.state.stopped_early:
            made.state.step = epoch
            made._judge(Validated({"top1": top1, "loss": loss}))
    return made


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([(0.5, 2.6), (0.5, 1.9), (0.5, 1.4)], 3),
        ([(0.5, 1.4), (0.5, 1.9), (0.5, 1.9)], 1),
        ([(0.5, 1.4), (0.5, 1.4)], 2),
        ([(0.5, 1.4), (0.6, 9.0), (0.5, 1.0)], 2),
    ],
    ids=["lower loss", "higher loss", "all equal", "the metric comes first"],
)
def test_of_equal_epochs_the_best_has_the_lower_loss_else_it_is_the_later(
    tmp_path: Path, figures: list[tuple[float, float]], best: int
) -> None:
    assert judged_with_losses(tmp_path, figures).state.best_step == best


def test_early_stopping_goes_on_while_the_loss_of_equal_epochs_falls(tmp_path: Path) -> None:
    figures = [(0.5, loss) for loss in (2.6, 2.1, 1.8, 1.4, 1.4, 1.5, 1.6)]
    made = judged_with_losses(tmp_path, figures, "early_stopping.patience=2")
    assert (made.state.step, made.state.best_step) == (6, 5)


def test_the_loss_may_judge_and_less_of_it_is_better(tmp_path: Path) -> None:
    figures = [(0.9, 1.5), (0.5, 1.2), (0.7, 1.15), (0.9, 1.3), (0.9, 1.25)]
    made = judged_with_losses(
        tmp_path, figures, "metric=loss", "early_stopping.patience=2", "early_stopping.min_delta=0.1"
    )
    assert (made.state.step, made.state.best_step) == (4, 3)


def test_a_diverged_loss_stops_with_advice_and_writes_no_checkpoint(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, "optimizer.lr=1e30", "optimizer.weight_decay=1")
    with pytest.raises(ConvsmithError, match=r"the training diverged; .*`1`\nLower optimizer.lr"):
        made.fit()
    assert latest_checkpoint(tmp_path / "checkpoints") is None


def test_a_checkpoint_that_cannot_be_written_is_an_error_and_the_one_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = trainer(tmp_path)
    written: list[str] = []

    def full_disk(tensors: dict[str, Tensor], file: Path) -> None:
        if written:
            raise OSError(28, "No space left on device")
        save_file(tensors, file)
        if file.name.startswith("optimizer"):
            written.append(file.name)

    monkeypatch.setattr("convsmith.training.checkpoints.checkpoint.save_file", full_disk)
    with pytest.raises(ConvsmithError, match=r"step 8 cannot be written: .*No space left"):
        made.fit()
    checkpoint = latest_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.state["step"] == 4
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.startswith(".")] == []


def test_a_signal_while_passes_are_compiled_ends_the_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = trainer(tmp_path)
    made.stepper._compiles = True
    monkeypatch.setattr(made.stepper, "_pass", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    with made.session.poll.stop, pytest.raises(StopNow):
        made.fit()
    assert made.state.step == 0


def test_a_stop_request_saves_the_step_that_was_done(tmp_path: Path) -> None:
    made, notes = trainer(tmp_path)
    stop_during_step(made, 3)
    made.fit()
    checkpoint = latest_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.state["step"] == 3
    assert notes.records == []


def test_a_stop_request_on_the_edge_of_an_epoch_leaves_the_evaluation_to_the_resumed_run(tmp_path: Path) -> None:
    whole, whole_notes = trainer(tmp_path / "whole")
    whole.fit()
    made, notes = trainer(tmp_path / "stopped")
    stop_during_step(made, 4)
    made.fit()
    assert notes.records == []
    resumed, resumed_notes = trainer(
        tmp_path / "stopped", checkpoint=latest_checkpoint(tmp_path / "stopped" / "checkpoints")
    )
    resumed.fit()
    assert torch.equal(weights(resumed), weights(whole))
    assert [figures(r) for r in resumed_notes.records] == [figures(r) for r in whole_notes.records]


def test_progress_is_told_in_images_up_to_the_end(tmp_path: Path) -> None:
    made, notes = trainer(tmp_path)
    made.fit()
    assert [phase for phase in notes.phases if phase[0] == "train"][-1] == ("train", 48, 48)
    assert ("evaluate", 10, 10) in notes.phases


def figures(record: Record) -> dict[str, Any]:
    timeless = {k: v for k, v in record.values.items() if "second" not in k}
    return {"step": record.step, "split": record.split, **timeless}
