"""The loop on a linear model whose numbers can be followed."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from convsmith.data.loader import Batch
from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from convsmith.recipe.plan import Plan, make_plan
from convsmith.tasks.make import make_task
from convsmith.training.checkpoint import Checkpoint, latest_checkpoint
from convsmith.training.observers.base import Observer, Record
from convsmith.training.optim import parameter_groups
from convsmith.training.progress import Progress
from convsmith.training.signals import StopRequest
from convsmith.training.trainer import Parts, Trainer

SIZE, CLASSES, SAMPLES = 4, 3, 24


class Notes(Observer):
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.phases: list[tuple[str, int, int]] = []

    def metrics(self, record: Record) -> None:
        self.records.append(record)

    def progress(self, phase: str, done: int, total: int) -> None:
        self.phases.append((phase, done, total))


def batches(size: int, count: int, seed: int = 0) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (size * count, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    targets = torch.randint(0, CLASSES, (size * count,), generator=generator)
    return [Batch(images[i : i + size], targets[i : i + size], []) for i in range(0, size * count, size)]


def trainer(
    run_dir: Path,
    *overrides: str,
    train: Sequence[Batch] | None = None,
    val: Sequence[Batch] | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[Trainer, Notes]:
    """Two epochs of four steps of six samples, unless overridden."""
    base = ["batch.size=6", "schedule.epochs=2", "schedule.warmup_epochs=0", "precision=fp32", "optimizer.lr=0.01"]
    recipe = load_recipe("digits", [*base, *overrides])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, CLASSES))
    plan = make_plan(recipe, SAMPLES)
    plan = Plan(**{**vars(plan), "groups": parameter_groups(model, recipe.optimizer)})
    progress = Progress.from_dict(checkpoint.state) if checkpoint else Progress(data_digest="", threads=1)
    done = progress.step * plan.accumulation
    notes = Notes()
    parts = Parts(
        model=model,
        normalize=Scale(),
        task=make_task(recipe),
        train=(train or batches(plan.per_device_batch, plan.total_steps * plan.accumulation))[done:],
        val=val or batches(5, 2, seed=1),
        num_val=10,
        device=torch.device("cpu"),
        precision="fp32",
        observers=[notes],
        stop=StopRequest(),
    )
    run_dir.mkdir(exist_ok=True)
    return Trainer(recipe, plan, parts, run_dir, progress, checkpoint), notes


class Scale(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.float() / 255


def weights(made: Trainer) -> Tensor:
    linear = made.parts.model[1]  # type: ignore[index]
    assert isinstance(linear, nn.Linear)
    return linear.weight.detach()


def test_accumulation_gives_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    whole, whole_notes = trainer(tmp_path / "whole")
    parts, parts_notes = trainer(tmp_path / "parts", "batch.per_device=2")
    assert parts.plan.accumulation == 3
    whole.fit()
    parts.fit()
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-5, atol=1e-6)
    for one, two in zip(whole_notes.records, parts_notes.records, strict=True):
        assert one.values["loss"] == pytest.approx(two.values["loss"], rel=1e-5)


def test_the_learning_rate_of_every_step_is_the_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = trainer(tmp_path)
    used: list[float] = []
    step = made.optimizer.step

    def noted_step() -> None:
        used.append(made.optimizer.param_groups[0]["lr"])
        step()

    monkeypatch.setattr(made.optimizer, "step", noted_step)
    made.fit()
    assert tuple(used) == made.plan.lr


def test_clipping_bounds_the_first_step(tmp_path: Path) -> None:
    made, _ = trainer(
        tmp_path, "clip_grad_norm=0.001", "optimizer.weight_decay=0", "schedule.epochs=1", "optimizer.nesterov=false"
    )
    before = {name: value.clone() for name, value in made.parts.model.state_dict().items()}
    made._step(iter(made.parts.train))
    moved = torch.cat([(v - before[k]).flatten() for k, v in made.parts.model.state_dict().items()])
    assert moved.norm().item() == pytest.approx(0.001 * made.plan.lr[0], rel=1e-3)


def test_early_stopping_ends_after_patience_epochs_without_improvement(tmp_path: Path) -> None:
    images = torch.zeros(5, 3, SIZE, SIZE, dtype=torch.uint8)
    same_class = [Batch(images, torch.zeros(5, dtype=torch.int64), [])]
    made, notes = trainer(
        tmp_path, "schedule.epochs=9", "early_stopping.patience=2", "early_stopping.min_delta=1.5", val=same_class
    )
    made.fit()
    assert made.state.stopped_early
    assert notes.records[-1].epoch == 3
    assert made.state.best_step == 4


def test_a_diverged_loss_stops_with_advice_and_writes_no_checkpoint(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, "optimizer.lr=1e30", "optimizer.weight_decay=1")
    with pytest.raises(ConvsmithError, match=r"the training diverged\nLower optimizer.lr"):
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

    monkeypatch.setattr("convsmith.training.checkpoint.save_file", full_disk)
    with pytest.raises(ConvsmithError, match=r"step 8 cannot be written: .*No space left"):
        made.fit()
    checkpoint = latest_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.state["step"] == 4
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.startswith(".")] == []


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


def stop_during_step(made: Trainer, count: int) -> None:
    """Let a signal come while step `count`, from 1, is under way."""
    optimizer_step, done = made.optimizer.step, 0

    def step() -> None:
        nonlocal done
        optimizer_step()
        done += 1
        if done == count:
            made.parts.stop.signal = signal.SIGTERM

    made.optimizer.step = step  # type: ignore[assignment]


def figures(record: Record) -> dict[str, Any]:
    timeless = {k: v for k, v in record.values.items() if k not in ("images_per_second", "seconds")}
    return {"step": record.step, "split": record.split, **timeless}
