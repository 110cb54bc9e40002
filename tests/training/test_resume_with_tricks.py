"""Everything that a recipe changes from step to step or from epoch to epoch, interrupted and gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import convsmith as cs
from convsmith.training.observers.base import Observer
from tests.training.conftest import SMALL
from tests.training.test_interrupted import assert_same_run
from tests.training.tiny_model import TinyNet, name_tiny

# Six steps in an epoch, each of two micro-batches.
EVERYTHING = (
    *SMALL,
    "model.name=tiny",
    "model.drop_path.end=0.4",
    "model.drop_block.end=0.3",
    "model.gradient_checkpointing=true",
    "model.batch_norm_momentum=0.3",
    "batch.per_device=4",
    "schedule.warmup_epochs=1",
    "sampling.name=repeated",
    "sampling.repetitions=2",
    "mixing.mixup_alpha=0.2",
    "mixing.cutmix_alpha=1.0",
    "mixing.off_epochs=1",
    "loss.label_smoothing=0.1",
    "optimizer={name: lamb, lr: 0.01, weight_decay: 0.05, norm_weight_decay: 0, layer_decay: 0.8}",
    "optimizer.weight_decay_end=0.5",
    "freeze.names=['conv1.*', 'bn1.*']",
    "freeze.epochs=1",
    "ema={decay: 0.9, warmup: power, every_steps: 4, copy_in_warmup: true}",
    "clip_grad_norm=1",
    "checkpoint.every_steps=1",
)


class Killed(Exception):
    """Nothing is saved when it passes."""


class Killer(Observer):
    def __init__(self, step: int) -> None:
        self.images = step * 8

    def progress(self, phase: str, done: int, total: int) -> None:
        if phase == "train" and done == self.images:
            raise Killed


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    name_tiny(monkeypatch)
    monkeypatch.setattr("convsmith.training.train.pack", lambda *_: None)


def test_a_run_does_not_go_on_with_another_teacher(digits: Path, tmp_path: Path) -> None:
    file = tmp_path / "teacher.pth"
    torch.save(TinyNet(4).state_dict(), file)
    source = f"distillation.teacher={{model: tiny, weights: {file}}}"
    recipe = cs.load_recipe("digits", [*SMALL, "model.name=tiny", "batch.per_device=4", "schedule.epochs=2", source])
    with pytest.raises(Killed):
        cs.train(recipe, digits, tmp_path / "run", observers=[Killer(9)])
    learned = file.read_bytes()
    torch.save(TinyNet(4).state_dict(), file)
    with pytest.raises(cs.ConvsmithError, match="teacher is not the one that this run began with"):
        cs.train(recipe, digits, tmp_path / "run")
    file.write_bytes(learned)
    assert cs.train(recipe, digits, tmp_path / "run").metrics[-1]["epoch"] == 2


def test_a_finished_run_is_not_that_of_another_teacher_but_outlives_its_own(digits: Path, tmp_path: Path) -> None:
    file = tmp_path / "teacher.pth"
    torch.save(TinyNet(4).state_dict(), file)
    source = f"distillation.teacher={{model: tiny, weights: {file}}}"
    recipe = cs.load_recipe("digits", [*SMALL, "model.name=tiny", "batch.per_device=4", "schedule.epochs=2", source])
    cs.train(recipe, digits, tmp_path / "run")
    torch.save({name: tensor + 1 for name, tensor in TinyNet(4).state_dict().items()}, file)
    with pytest.raises(cs.ConvsmithError, match="teacher is not the one that this run began with"):
        cs.train(recipe, digits, tmp_path / "run")
    file.unlink()
    assert cs.train(recipe, digits, tmp_path / "run").metrics[-1]["epoch"] == 2


def test_a_killed_run_with_every_trick_goes_on_bit_for_bit(digits: Path, tmp_path: Path) -> None:
    recipe = cs.load_recipe("digits", EVERYTHING)
    whole = cs.train(recipe, digits, tmp_path / "whole")
    for step in (3, 6, 9, 16):  # frozen, at the edge of the thaw, thawed, and without mixing
        with pytest.raises(Killed):
            cs.train(recipe, digits, tmp_path / "killed", observers=[Killer(step)])
        newest = max((tmp_path / "killed/checkpoints").glob("step-*"))
        assert json.loads((newest / "state.json").read_text())["step"] < step
    cs.train(recipe, digits, tmp_path / "killed")
    assert_same_run(whole.path, tmp_path / "killed")


def test_a_killed_run_that_trains_for_int8_goes_on_bit_for_bit(digits: Path, tmp_path: Path) -> None:
    changes = ("model.gradient_checkpointing=false", "quantization_aware={}", "schedule.epochs=2")
    recipe = cs.load_recipe("digits", [*EVERYTHING, *changes])
    whole = cs.train(recipe, digits, tmp_path / "whole")
    with pytest.raises(Killed):
        cs.train(recipe, digits, tmp_path / "killed", observers=[Killer(9)])
    cs.train(recipe, digits, tmp_path / "killed")
    assert_same_run(whole.path, tmp_path / "killed")
    state = load_file(whole.checkpoints / "last" / "model.safetensors")
    assert state["rounding.high"].min() > 0
    assert state["rounding.batches"].tolist() == [2 * 2 * 6] * len(state["rounding.high"])
