"""The arithmetic of validations, on a linear model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from convsmith.training import judging_precision, validation
from convsmith.training.checkpoints.checkpoint import latest_checkpoint, read_checkpoint, step_folder
from convsmith.training.evaluation import evaluate
from convsmith.training.parts import Parts
from convsmith.training.trainer import Trainer
from convsmith.training.validation import Validated
from tests.training.linear_trainer import stop_during_step, trainer, weights

FOUR = "schedule.epochs=4"  # of four steps each
FAST = "eval_precision=fast"


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arithmetic of each validation."""
    found: list[str] = []
    evaluated: Callable[..., object] = evaluate

    def noted(parts: Parts, *given: object, **more: object) -> object:
        found.append(parts.eval_precision)
        return evaluated(parts, *given, **more)

    monkeypatch.setattr(validation, "evaluate", noted)
    return found


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any step that is left be half an hour."""
    monkeypatch.setattr(judging_precision, "AHEAD", 1e-12)


def figures_in_float32(made: Trainer) -> dict[str, float]:
    """Those of the weights of the best step."""
    assert made.state.best_step is not None
    step = step_folder(made.session.run.checkpoints, made.state.best_step)
    made.parts.model.load_state_dict(read_checkpoint(step).tensors["model"])
    results = evaluate(made.parts, made.parts.model, made.parts.val)
    assert results is not None
    return results.compute()


@pytest.mark.usefixtures("long")
def test_validation_is_in_float32_unless_a_recipe_asks_for_another(tmp_path: Path, judged: list[str]) -> None:
    trainer(tmp_path, FOUR, precision="bf16")[0].fit()
    assert judged == ["fp32"] * 4


@pytest.mark.usefixtures("long")
def test_a_training_in_float32_is_judged_in_it(tmp_path: Path, judged: list[str]) -> None:
    trainer(tmp_path, FOUR, FAST)[0].fit()
    assert judged == ["fp32"] * 4


def test_what_less_than_half_an_hour_comes_after_is_judged_in_float32(tmp_path: Path, judged: list[str]) -> None:
    made, _ = trainer(tmp_path, FOUR, FAST, precision="bf16")
    made.fit()
    assert judged == ["fp32"] * 4
    assert made.state.fast_until == 0


def test_from_where_half_an_hour_is_left_it_is_float32(
    tmp_path: Path, judged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = trainer(tmp_path, FOUR, FAST, precision="bf16")
    monkeypatch.setattr(judging_precision, "AHEAD", 5.0)
    advance = made.stepper.advance

    def of_a_second() -> torch.Tensor:
        loss = advance()
        made.state.train_seconds = float((made.state.step - 1) % 4)  # and the rest of an instant
        return loss

    monkeypatch.setattr(made.stepper, "advance", of_a_second)
    made.fit()
    assert made.state.fast_until == 9  # of 16 steps, at 3/4 of a second each
    assert judged[:2] == ["bf16"] * 2
    assert set(judged[2:]) == {"fp32"}


@pytest.mark.usefixtures("long")
def test_the_last_and_the_best_are_judged_in_float32(tmp_path: Path, judged: list[str]) -> None:
    made, notes = trainer(tmp_path, FOUR, FAST, precision="bf16")
    made.fit()
    assert judged == ["bf16", "bf16", "bf16", "fp32", "fp32"]  # the last, and the best of those before
    assert [it.split for it in notes.records] == ["train", "val"] * 4
    assert made.state.best_precision == "fp32"
    assert made.state.best == figures_in_float32(made)


@pytest.mark.usefixtures("long")
def test_judging_the_best_again_leaves_the_weights(tmp_path: Path) -> None:
    fast, _ = trainer(tmp_path / "fast", FOUR, FAST, precision="bf16")
    exact, _ = trainer(tmp_path / "exact", FOUR, precision="bf16")
    fast.fit()
    exact.fit()
    assert torch.equal(weights(fast), weights(exact))


@pytest.mark.usefixtures("long")
def test_the_epoch_that_early_stopping_ends_at_is_judged_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = trainer(tmp_path, FOUR, FAST, "early_stopping.patience=1", precision="bf16")
    asked: list[str] = []

    def worse_each_time(_session: object, parts: Parts, *_: object) -> Validated:
        asked.append(parts.eval_precision)
        return Validated({"top1": 1 / made.state.step, "loss": 1.0}, precision=parts.eval_precision)

    monkeypatch.setattr("convsmith.training.trainer.validate", worse_each_time)
    made.fit()
    assert asked == ["bf16", "bf16", "fp32"]
    assert (made.state.step, made.state.stopped_early, made.state.best_step) == (8, True, 4)
    assert made.state.best_precision == "fp32"


@pytest.mark.usefixtures("long")
def test_of_both_weights_the_shipped_ones_are_judged_again(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, FOUR, FAST, "ema.decay=0.9", "ema.judge=both", "optimizer.lr=0.5", precision="bf16")
    made.fit()
    best = made.state.best
    assert best is not None
    assert best["top1"] in (best["model_top1"], best["ema_top1"])
    assert made.state.best_precision == "fp32"


def test_a_resumed_run_is_fast_as_long_as_the_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging_precision, "AHEAD", 1e-12)
    made, _ = trainer(tmp_path, FOUR, FAST, precision="bf16")
    stop_during_step(made, 6)
    made.fit()
    checkpoint = latest_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.state["fast_until"] == 15
    monkeypatch.setattr(judging_precision, "AHEAD", 1800.0)  # this machine is faster
    resumed, _ = trainer(tmp_path, FOUR, FAST, checkpoint=replace(checkpoint), precision="bf16")
    resumed.fit()
    assert resumed.state.fast_until == 15
