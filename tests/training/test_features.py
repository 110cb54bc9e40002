"""What a recipe asks for reaches the arithmetic: each feature by a number or a layout that is different without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import convsmith as cs
from convsmith.recipe.optimization import AdamW
from convsmith.training import validation
from convsmith.training.checkpoints.checkpoint import latest_checkpoint
from convsmith.training.parts import Parts
from convsmith.training.run_weights import judged_weights
from convsmith.training.session import Session
from convsmith.training.trainer import Trainer
from convsmith.training.update.groups import parameter_groups
from convsmith.training.update.optim import make_optimizer
from tests.training.conftest import SMALL
from tests.training.linear_trainer import Scale, note_groups, stop_during_step, trainer, weights
from tests.training.tiny_model import name_tiny


@dataclass
class Seen:
    """One epoch in bf16 with an average that lags behind, as the public function trains it."""

    path: Path
    shipped: dict[str, Tensor] = field(default_factory=dict)
    """The weights that were to become the bundle."""
    kernels: list[Tensor] = field(default_factory=list)
    """The weights of the trained convolutions."""
    train_dtypes: set[torch.dtype] = field(default_factory=set)
    """What the model gave in training mode."""


@pytest.fixture(scope="module")
def seen(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    noted = Seen(tmp_path_factory.mktemp("runs") / "run")

    def note_output(model: nn.Module, inputs: Any, logits: Tensor) -> None:
        if model.training:
            noted.train_dtypes.add(logits.dtype)

    def note_model(session: Session, parts: Parts, *rest: Any) -> Trainer:
        noted.kernels = [module.weight for module in parts.model.modules() if isinstance(module, nn.Conv2d)]
        parts.model.register_forward_hook(note_output)
        return Trainer(session, parts, *rest)

    def note_shipped(path: Path, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        noted.shipped = model.state_dict()

    one_epoch = ("schedule.epochs=1", "schedule.warmup_epochs=0", "precision=bf16", "ema.decay=0.9", "ema.warmup=none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convsmith.training.train.Trainer", note_model)
        patch.setattr("convsmith.deploy.bundle.make_bundle", note_shipped)
        cs.train(cs.load_recipe("digits", [*SMALL, *one_epoch]), digits, noted.path)
    return noted


def test_the_weights_that_are_shipped_are_the_averaged_ones(seen: Seen) -> None:
    averaged = load_file(seen.path / "checkpoints" / "best" / "ema.safetensors")
    assert [name for name in averaged if not torch.equal(seen.shipped[name], averaged[name])] == []


def test_the_forward_pass_of_training_computes_in_bf16_where_the_recipe_says_so(seen: Seen) -> None:
    assert seen.train_dtypes == {torch.bfloat16}


def test_the_trained_model_lies_in_channels_last(seen: Seen) -> None:
    assert seen.kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in seen.kernels)


@pytest.mark.parametrize("channels_last", [True, False])
def test_images_reach_the_model_in_the_recipes_layout(tmp_path: Path, channels_last: bool) -> None:
    made, _ = trainer(tmp_path, "schedule.epochs=1", f"channels_last={str(channels_last).lower()}")
    layouts: set[bool] = set()

    def note_layout(module: nn.Module, inputs: tuple[Tensor]) -> None:
        layouts.add(inputs[0].is_contiguous(memory_format=torch.channels_last))

    made.parts.model.register_forward_pre_hook(note_layout)
    made.fit()
    assert layouts == {channels_last}


def test_evaluation_judges_the_averaged_weights(tmp_path: Path) -> None:
    made, notes = trainer(tmp_path, "schedule.epochs=1", "optimizer.lr=0.5", "ema.decay=0.9", "ema.warmup=none")
    made.fit()
    assert made.stepper.ema is not None
    images = torch.cat([batch.images for batch in made.parts.val])
    targets = torch.cat([batch.targets for batch in made.parts.val])
    expected = F.cross_entropy(made.stepper.ema.model(Scale()(images)), targets).item()
    assert notes.records[-1].values["loss"] == pytest.approx(expected, rel=1e-5)


def test_evaluation_judges_the_trained_weights_where_the_recipe_says_so(tmp_path: Path) -> None:
    made, notes = trainer(tmp_path, "schedule.epochs=1", "optimizer.lr=0.5", "ema.decay=0.9", "ema.judge=model")
    made.fit()
    images = torch.cat([batch.images for batch in made.parts.val])
    targets = torch.cat([batch.targets for batch in made.parts.val])
    expected = F.cross_entropy(made.parts.model(Scale()(images)), targets).item()
    assert notes.records[-1].values["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_bundle_holds_the_trained_weights_where_those_are_judged(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_tiny(monkeypatch)
    shipped: dict[str, Tensor] = {}
    monkeypatch.setattr(
        "convsmith.deploy.bundle.make_bundle", lambda path, model, *args, **kwargs: shipped.update(model.state_dict())
    )
    recipe = cs.load_recipe("digits", [*SMALL, "model.name=tiny", "ema.decay=0.9", "ema.judged=false"])
    run = cs.train(recipe, digits, tmp_path / "run")
    trained = load_file(run.checkpoints / "best" / "model.safetensors")
    assert [name for name in trained if not torch.equal(shipped[name], trained[name])] == []


def test_the_average_is_updated_at_the_recipes_steps(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, "ema.decay=0.5", "ema.warmup=none", "ema.every_steps=3")
    assert made.stepper.ema is not None
    expected = weights(made).clone()
    for step in range(8):  # two epochs of four
        made.stepper.advance()
        if step in (0, 3, 4, 7):
            expected = (expected + weights(made)) / 2
        torch.testing.assert_close(made.stepper.ema.model.state_dict()["1.weight"], expected)


def test_the_weight_decay_of_every_step_is_the_plans_where_it_is_the_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = trainer(
        tmp_path, "optimizer.weight_decay=0.1", "optimizer.weight_decay_end=0.5", "optimizer.bias_weight_decay=0.2"
    )
    used = note_groups(made, "weight_decay", monkeypatch)
    made.fit()
    assert made.session.plan.weight_decay is not None
    assert len(set(made.session.plan.weight_decay)) == len(used) == 8
    assert used == [[decay, 0.2] for decay in made.session.plan.weight_decay]


def test_an_extra_phase_is_trained_with_its_own_learning_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, notes = trainer(tmp_path, "schedule.extra.epochs=1", "schedule.extra.lr=0.002")
    used = note_groups(made, "lr", monkeypatch)
    made.fit()
    assert len(used) == 12
    assert used[8] == [0.002]
    assert notes.records[-1].epoch == 3


def test_nesterov_looks_ahead_along_the_momentum(tmp_path: Path) -> None:
    def first_move(nesterov: str) -> Tensor:
        made, _ = trainer(
            tmp_path / nesterov, f"optimizer.nesterov={nesterov}", "optimizer.momentum=0.5", "optimizer.weight_decay=0"
        )
        before = weights(made).clone()
        made.stepper.advance()
        return weights(made) - before

    torch.testing.assert_close(first_move("true"), 1.5 * first_move("false"), rtol=1e-3, atol=1e-7)


def test_adamw_averages_gradients_and_their_squares_with_the_recipes_betas() -> None:
    recipe = AdamW(name="adamw", lr=0.1, betas=(0.5, 0.75), eps=1e-8, weight_decay=0)
    mean = (0.5 * 0.5 * 1 + 0.5 * 3) / (1 - 0.5**2)
    square = (0.75 * 0.25 * 1**2 + 0.25 * 3**2) / (1 - 0.75**2)
    assert adamw_moves(recipe, [1.0, 3.0])[1] == pytest.approx(-0.1 * mean / square**0.5, rel=1e-5)


def test_adamw_divides_by_the_gradients_size_plus_the_recipes_eps() -> None:
    recipe = AdamW(name="adamw", lr=0.1, eps=0.25, weight_decay=0)
    assert adamw_moves(recipe, [1.0]) == pytest.approx([-0.1 * 1 / (1 + 0.25)], rel=1e-5)


def test_in_fp16_the_gradient_is_clipped_at_its_true_size(tmp_path: Path) -> None:
    made, _ = trainer(
        tmp_path, "clip_grad_norm=0.001", "optimizer.weight_decay=0", "optimizer.nesterov=false", precision="fp16"
    )
    made.stepper.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)  # too small for an overflow
    before = nn.utils.parameters_to_vector(made.parts.model.parameters()).detach()
    made.stepper.advance()
    moved = nn.utils.parameters_to_vector(made.parts.model.parameters()).detach() - before
    assert moved.norm().item() == pytest.approx(0.001 * made.session.plan.lr[0], rel=1e-2)


def test_a_resumed_run_goes_on_with_the_loss_scale_that_was_reached(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, precision="fp16")
    made.stepper.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    stop_during_step(made, 3)
    made.fit()
    resumed, _ = trainer(tmp_path, checkpoint=latest_checkpoint(tmp_path / "checkpoints"), precision="fp16")
    assert resumed.stepper.scaler.state_dict() == made.stepper.scaler.state_dict()


@pytest.fixture
def _new_memory_is_nan() -> Iterator[None]:
    """Let tensors that nobody filled hold NaN, not what happened to be there."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.usefixtures("_new_memory_is_nan")
def test_weights_stay_finite_when_the_first_fp16_step_overflows(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, precision="fp16")
    made.stepper.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
    made.stepper.advance()
    assert made.stepper.scaler.get_scale() == 2.0**19, "the step was to overflow"
    made.stepper.scaler.update(1024.0)
    made.stepper.advance()
    assert weights(made).isfinite().all()


def adamw_moves(recipe: AdamW, gradients: list[float]) -> list[float]:
    """How far a weight moves with each of the gradients."""
    model = nn.Linear(1, 1, bias=False)
    optimizer = make_optimizer(model, recipe, parameter_groups(model, recipe))
    moves = []
    for gradient in gradients:
        before = model.weight.item()
        model.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        moves.append(model.weight.item() - before)
    return moves


@pytest.mark.parametrize("better", ["model", "ema"])
def test_where_both_are_judged_the_better_counts_and_both_are_told(
    better: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "convsmith")
    made, notes = trainer(tmp_path, "schedule.epochs=1", "ema.decay=0.9", "ema.judge=both")
    assert made.stepper.ema is not None
    good, bad = {"top1": 0.75, "loss": 1.0}, {"top1": 0.5, "loss": 2.0}
    of_model, of_ema = (good, bad) if better == "model" else (bad, good)
    monkeypatch.setattr(
        validation,
        "_validate_model",
        lambda *given: validation.Validated(of_model if given[-1] is made.parts.model else of_ema),
    )
    made.fit()
    told = notes.records[-1].values
    assert (told["top1"], told["loss"]) == (0.75, 1.0)
    assert (told["model_top1"], told["ema_top1"]) == (of_model["top1"], of_ema["top1"])
    assert ("the average is better" in caplog.text) == (better == "ema")
    recipe, step = made.session.recipe, tmp_path / "checkpoints" / "best"
    assert judged_weights(recipe, step) == better


def test_of_equal_weights_the_average_counts(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, "schedule.epochs=1", "ema={decay: 0.0, warmup: none, judge: both}")
    made.fit()
    assert made.state.judged == "ema"


@pytest.mark.parametrize(("former", "judge"), [("true", "ema"), ("false", "model")])
def test_recipes_that_name_the_judge_as_before_go_on(former: str, judge: str) -> None:
    ema = cs.load_recipe("digits", ["ema.decay=0.9", f"ema.judged={former}"]).ema
    assert ema is not None
    assert ema.judge == judge
