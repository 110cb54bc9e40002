from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from convsmith.training.checkpoints.checkpoint import latest_checkpoint
from convsmith.training.precision import Precision
from convsmith.training.progress import Progress
from convsmith.training.update.gradients import EVERY, GradientNorm
from tests.training.linear_trainer import stop_during_step, trainer


def measured(clip: float | None, norms: list[float]) -> tuple[GradientNorm, list[float]]:
    """Steps whose gradients have these norms, and what they have afterwards."""
    model = nn.Linear(1, 1)
    model.bias.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters())
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    gradients, after = GradientNorm(clip, 0.0, torch.device("cpu")), []
    for step, norm in enumerate(norms):
        model.weight.grad = torch.full((1, 1), -norm)
        gradients.measure(model, step, scaler, optimizer)
        after.append(-model.weight.grad.item())
    return gradients, after


def test_without_clipping_some_steps_are_measured_and_none_is_changed() -> None:
    norms = [2.0, *[100.0] * (EVERY - 1), 4.0]
    gradients, after = measured(None, norms)
    assert gradients.mean(len(norms)) == 3
    assert after == norms


def test_clipping_measures_every_step_before_it_clips() -> None:
    gradients, after = measured(1.0, [0.5, 2.5])
    assert gradients.mean(2) == 1.5
    assert after == pytest.approx([0.5, 1.0], rel=1e-5)


def test_each_epoch_has_its_own_mean() -> None:
    gradients, _ = measured(1.0, [3.0])
    gradients.begin_epoch()
    assert gradients.total == 0


def test_the_norm_that_a_run_records_is_that_of_all_its_gradients(tmp_path: Path) -> None:
    made, notes = trainer(tmp_path, "schedule.epochs=1")
    norms = []
    step = made.stepper.optimizer.step

    def noted() -> None:
        norms.append(
            math.hypot(*(it.grad.norm().item() for it in made.parts.model.parameters() if it.grad is not None))
        )
        step()

    made.stepper.optimizer.step = noted  # type: ignore[assignment]
    made.fit()
    assert notes.records[0].values["grad_norm"] == pytest.approx(norms[0])  # of four steps the first is measured


def test_a_stopped_epoch_goes_on_with_the_norms_it_had(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, "clip_grad_norm=1.0")
    stop_during_step(made, 2)
    made.fit()
    checkpoint = latest_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert Progress.from_dict(checkpoint.state).norm_sum == made.stepper.gradients.total > 0


def test_seconds_of_a_step_and_of_its_wait_for_data_are_recorded(tmp_path: Path) -> None:
    made, notes = trainer(tmp_path)
    made.fit()
    values = notes.records[0].values
    assert 0 < values["data_seconds"] < values["step_seconds"]
    assert values["step_seconds"] * 4 == pytest.approx(values["seconds"])


def test_the_loss_scale_is_recorded_in_fp16_only(tmp_path: Path) -> None:
    values = []
    precisions: tuple[Precision, ...] = ("fp16", "fp32")
    for precision in precisions:
        made, notes = trainer(tmp_path / precision, precision=precision)
        made.fit()
        values.append(notes.records[0].values)
    assert values[0]["loss_scale"] == 65536
    assert "loss_scale" not in values[1]
