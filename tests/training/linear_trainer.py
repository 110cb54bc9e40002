"""A linear model whose numbers can be followed, and a trainer of it."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convsmith.data.loading.loader import Batch
from convsmith.launch.world import World
from convsmith.recipe.load import load_recipe
from convsmith.recipe.make_plan import make_plan
from convsmith.recipe.plan import Plan
from convsmith.tasks.base import find_training
from convsmith.training.checkpoints.checkpoint import Checkpoint
from convsmith.training.observers.base import Observer, Record
from convsmith.training.parts import Parts
from convsmith.training.precision import Precision
from convsmith.training.progress import Progress
from convsmith.training.run import Run, hold
from convsmith.training.session import Session
from convsmith.training.trainer import Trainer
from convsmith.training.update.groups import parameter_groups
from tests.data.folders import folder_of_classes

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
    precision: Precision = "fp32",
) -> tuple[Trainer, Notes]:
    """Two epochs of four steps of six samples, unless overridden."""
    base = ["batch.size=6", "schedule.epochs=2", "schedule.warmup_epochs=0", "precision=fp32", "optimizer.lr=0.01"]
    recipe = load_recipe("digits", [*base, *overrides])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, CLASSES))
    plan = make_plan(recipe, SAMPLES)
    plan = Plan(**{**vars(plan), "groups": parameter_groups(model, recipe.optimizer)})
    begun = Progress(data_digest="", threads=1, precision=precision, per_device_batch=plan.per_device_batch)
    progress = Progress.from_dict(checkpoint.state) if checkpoint else begun
    given = train or batches(plan.per_device_batch, plan.total_steps * plan.accumulation)
    task, notes = find_training(recipe.task), Notes()
    folder = replace(folder_of_classes([SAMPLES // CLASSES] * CLASSES), val=folder_of_classes([10]).train)
    session = Session(
        recipe=recipe, plan=plan, dataset=folder, run=Run(run_dir), world=World(), progress=progress, observers=[notes]
    )
    parts = Parts(
        model=model,
        normalize=Scale(),
        channels_last=recipe.channels_last,
        task=task,
        objective=task.objective(recipe, model, folder, np.arange(SAMPLES), torch.device("cpu")),
        batches=lambda: given[progress.step * session.plan.accumulation :],
        val=val or batches(5, 2, seed=1),
        new_results=lambda: task.new_results(recipe, CLASSES),
        device=torch.device("cpu"),
        precision=precision,
    )
    run_dir.mkdir(exist_ok=True)
    hold(run_dir)
    return Trainer(session, parts, checkpoint), notes


class Scale(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.float() / 255


def weights(made: Trainer) -> Tensor:
    linear = made.parts.model[1]  # type: ignore[index]
    assert isinstance(linear, nn.Linear)
    return linear.weight.detach()


def stop_during_step(made: Trainer, count: int) -> None:
    """Let a signal come while step `count`, from 1, is under way."""
    optimizer_step, done = made.stepper.optimizer.step, 0

    def step() -> None:
        nonlocal done
        optimizer_step()
        done += 1
        if done == count:
            made.session.poll.stop.signal = signal.SIGTERM

    made.stepper.optimizer.step = step  # type: ignore[assignment]


def note_groups(made: Trainer, key: str, monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """A list that gets, at each optimizer step, the value under `key` in each parameter group."""
    used: list[list[float]] = []
    step = made.stepper.optimizer.step

    def noted_step() -> None:
        used.append([group[key] for group in made.stepper.optimizer.param_groups])
        step()

    monkeypatch.setattr(made.stepper.optimizer, "step", noted_step)
    return used
