"""A training whose loss is no number any more stops, or goes back; and says where that began."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import convsmith as cs
from convsmith.errors import ConvsmithError
from convsmith.models import registry
from convsmith.recipe.epochs import Epochs
from convsmith.training import validation
from convsmith.training.checkpoints.checkpoint import latest_checkpoint
from convsmith.training.divergence import STEPS, Diverged, LossWatch, first_non_finite
from convsmith.training.validation import validate
from tests.tasks.tiny_segmenter import TinySegmenter
from tests.training.linear_trainer import trainer, weights
from tests.training.ranks import run_ranks, train_tiny
from tests.training.scenes import scenes_recipe, write_scenes
from tests.training.tiny_model import TinyNet


class Fuse(nn.Module):
    """Overflows when a weight has moved too far since the last pass that was good."""

    before: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("before", weight.detach().clone())

    def forward(self, features: Tensor, weight: Tensor) -> Tensor:
        is_far = (weight - self.before).norm() > 0.3
        if self.training:
            self.before.copy_(torch.where(is_far, self.before, weight))
        return features * torch.where(is_far, torch.inf, 1.0)


class Fragile(TinyNet):
    """Cannot bear steps that are too long."""

    def __init__(self, num_classes: int = 10, drop_path: float = 0.0) -> None:
        super().__init__(num_classes, drop_path)
        self.fuse = Fuse(self.head.weight)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.fuse(super().forward_features(x), self.head.weight.detach())  # type: ignore[no-any-return]


FRAGILE = ("optimizer.lr=0.2", "clip_grad_norm=null", "schedule.epochs=4", "mixing=null", "model.options.drop_path=0")


def train_fragile(data: Path, out: Path, *overrides: str) -> str:
    return train_tiny(data, out, (*FRAGILE, "checkpoint.every_steps=4", *overrides), network=Fragile)


@pytest.fixture(scope="module")
def stopped(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("runs") / "stopped"
    (answer,) = run_ranks(1, train_fragile, digits, out)
    return out, answer


def test_a_loss_that_is_not_finite_for_some_steps_stops_the_run_and_names_the_layer(stopped: tuple[Path, str]) -> None:
    _, answer = stopped
    assert answer.startswith("Diverged 2: the training loss is not a finite number up to step")
    assert "the first layer with values that are not finite is `fuse`" in answer


def test_the_last_checkpoint_of_a_diverged_run_is_a_good_one(stopped: tuple[Path, str]) -> None:
    out, _ = stopped
    checkpoint = latest_checkpoint(out / "checkpoints")
    assert checkpoint is not None
    assert all(tensor.isfinite().all() for tensor in checkpoint.tensors["model"].values())


@pytest.mark.parametrize("count", [1, 2])
def test_with_rollback_it_goes_on_from_the_last_checkpoint_with_a_lower_rate(
    digits: Path, tmp_path: Path, count: int
) -> None:
    assert run_ranks(count, train_fragile, digits, tmp_path, "on_divergence=rollback") == ["finished"] * count
    state = json.loads((tmp_path / "checkpoints" / "last" / "state.json").read_text())
    assert 0 < state["lr_factor"] < 1
    recorded = [(line["step"], ("steps", "train", "val").index(line["split"])) for line in cs.Run(tmp_path).metrics]
    assert recorded == sorted(set(recorded))
    last, planned = cs.Run(tmp_path).metrics[-2], cs.Run(tmp_path).plan["lr"]
    assert last["lr"] == pytest.approx(planned[-1] * state["lr_factor"])
    assert "the training goes on from step" in (tmp_path / "log.txt").read_text()


def test_a_run_that_stopped_can_go_on_with_rollback(stopped: tuple[Path, str], digits: Path) -> None:
    out, _ = stopped
    assert run_ranks(1, train_fragile, digits, out, "on_divergence=rollback") == ["finished"]


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, "checkpoint.every_steps=1")
    weights(made).fill_(float("inf"))
    with pytest.raises(Diverged):
        made._save()
    assert latest_checkpoint(tmp_path / "checkpoints") is None


def test_a_rate_that_is_never_low_enough_is_an_error_in_the_end(digits: Path, tmp_path: Path) -> None:
    hopeless = ("on_divergence=rollback", "optimizer.lr=1e9", "schedule.epochs=2", "checkpoint.every_steps=null")
    (answer,) = run_ranks(1, train_fragile, digits, tmp_path, *hopeless)
    assert answer.startswith("Diverged 2")
    assert "rollback" not in answer


class Fevered(TinyNet):
    """Overflows in validation, and only there, when its head is too far from where it started."""

    start: Tensor

    def __init__(self, num_classes: int = 10, drop_path: float = 0.0) -> None:
        super().__init__(num_classes, drop_path)
        self.register_buffer("start", self.head.weight.detach().clone())

    def forward_features(self, x: Tensor) -> Tensor:
        features, moved = super().forward_features(x), (self.head.weight.detach() - self.start).norm()
        return features if self.training else features * torch.where(moved > 0.3, torch.inf, 1.0)


def train_fevered(data: Path, out: Path, shard: bool, *overrides: str) -> str:
    steady = ("optimizer.momentum=0", "optimizer.nesterov=false", "optimizer.lr=2", "schedule.epochs=2")
    return train_tiny(data, out, (*FRAGILE, *steady, *overrides), network=Fevered, shard=shard)


def test_answers_that_are_not_finite_end_the_run_without_a_best_epoch(digits: Path, tmp_path: Path) -> None:
    (answer,) = run_ranks(1, train_fevered, digits, tmp_path, False, "checkpoint.every_steps=null")
    assert answer.startswith("Diverged 2: a logit of validation images is not a finite number after step 6")
    assert "the first layer with values that are not finite is `head`" in answer
    assert latest_checkpoint(tmp_path / "checkpoints") is None


@pytest.mark.parametrize(
    ("count", "shard", "precision"),
    [(1, False, "bf16"), (2, False, "fp32"), pytest.param(2, True, "fp32", marks=pytest.mark.slow)],
)
def test_with_rollback_it_goes_back_to_before_the_validation_that_failed(
    digits: Path, tmp_path: Path, count: int, shard: bool, precision: str
) -> None:
    options = ("on_divergence=rollback", f"precision={precision}", "checkpoint.every_steps=2")
    assert run_ranks(count, train_fevered, digits, tmp_path, shard, *options) == ["finished"] * count
    state = json.loads((tmp_path / "checkpoints" / "best" / "state.json").read_text())
    assert 0 < state["lr_factor"] < 1
    assert all(math.isfinite(line["loss"]) for line in cs.Run(tmp_path).metrics)


def test_masks_of_logits_that_are_not_finite_end_a_segmenters_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(TinySegmenter):
        def segment(self, images: Tensor) -> Tensor:
            return super().segment(images) * torch.inf

    monkeypatch.setitem(registry._builders(), "tiny_segmenter", Broken)
    recipe, scenes = scenes_recipe(tmp_path, "schedule.epochs=1"), write_scenes(tmp_path / "scenes")
    with pytest.raises(Diverged, match="a logit of validation images is not a finite number after step 3"):
        cs.train(recipe, scenes, tmp_path / "run")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_run_without_steps_says_that_its_weights_do_not_work(bad: float, tmp_path: Path) -> None:
    made, _ = trainer(tmp_path)
    weights(made)[0] = bad
    with pytest.raises(
        ConvsmithError, match="a logit of validation images is not a finite number: the weights"
    ) as said:
        validate(made.session, made.parts, made.stepper)
    assert not isinstance(said.value, Diverged)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_bad_step_is_forgotten_and_some_in_a_row_are_counted(bad: float) -> None:
    watch = LossWatch(nn.Linear(1, 1))
    for loss, steps in ((bad, 1), (1.0, 0), *((bad, number + 1) for number in range(STEPS))):
        watch.look(torch.tensor(loss), lambda: None)
        watch.end_step()
        assert watch.steps == steps


def test_the_layer_is_named_in_order_of_computation() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))  # type: ignore[no-any-return]

    model = Backwards()
    assert first_non_finite(model, lambda: model(torch.ones(1, 2))) is None
    model.first.weight.data.fill_(float("nan"))
    assert first_non_finite(model, lambda: model(torch.ones(1, 2))) == "first"


@pytest.mark.parametrize(
    ("step", "every", "sound_until"), [(5, 1, 0), (20, 1, 15), (20, 3, 15), (25, 3, 15), (30, 3, 15), (35, 3, 30)]
)
def test_only_checkpoints_up_to_the_last_validation_can_be_trusted(step: int, every: int, sound_until: int) -> None:
    session = SimpleNamespace(
        progress=SimpleNamespace(step=step),
        recipe=SimpleNamespace(eval_every=every),
        plan=SimpleNamespace(epochs=Epochs(5)),
    )
    error = validation._diverged(session, "the loss", "conv1")  # type: ignore[arg-type]
    assert isinstance(error, Diverged)
    assert error.sound_until == sound_until
    assert error.what == f"the loss of validation images is not a finite number after step {step}"
    assert error.why == "the training diverged; the first layer with values that are not finite is `conv1`"


def test_the_layer_is_looked_for_once_and_forgotten_with_a_good_step() -> None:
    model, looked = nn.Linear(1, 1), list[None]()
    model.weight.data.fill_(float("nan"))

    def again() -> object:
        looked.append(None)
        return nn.Sequential(model)(torch.ones(1, 1))

    watch = LossWatch(nn.Sequential(model))
    watch.end_step()
    assert (watch.steps, watch.layer) == (0, None)
    for _ in range(2):
        watch.look(torch.tensor(float("nan")), again)
        watch.end_step()
    assert (watch.steps, watch.layer, len(looked)) == (2, "0", 1)
    watch.look(torch.tensor(1.0), again)
    watch.end_step()
    assert watch.layer is None
    watch.look(torch.tensor(float("nan")), None)
    assert (watch.layer, len(looked)) == (None, 1)
