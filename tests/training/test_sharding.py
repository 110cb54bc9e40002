"""Processes that keep only their share of a model train what one would, whatever happens to them."""

from __future__ import annotations

import copy
import math
import os
import signal
import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convsmith as cs
from convsmith.launch.world import World
from convsmith.training.checkpoints.checkpoint import Checkpoint
from convsmith.training.observers.base import Observer
from convsmith.training.parallel.distributed import joined
from convsmith.training.parallel.sharding import _blocks
from convsmith.training.parallel.shares import kept, shared_out
from convsmith.training.resume import share_checkpoint
from tests.training.ranks import TINY, At, run_ranks, train_tiny
from tests.training.test_distributed import STEPS, assert_close_runs
from tests.training.test_interrupted import assert_same_run, figures
from tests.training.tiny_model import TinyNet, name_tiny

train_shards = partial(train_tiny, shard=True)


def train_and_weigh(data: Path, out: Path) -> dict[str, int]:
    """Bytes that this process keeps from one step to the next, and of gradients before they are used."""
    from convsmith.training.stepper import Stepper

    found: dict[str, int] = {}
    step = Stepper.advance

    def weigh(name: str, tensors: Iterable[Tensor | None]) -> None:
        found[name] = sum(kept(it.detach()).nbytes for it in tensors if it is not None)

    def step_and_weigh(stepper: Stepper) -> Tensor:
        weights = list(stepper.parts.model.parameters())
        hook = stepper.optimizer.register_step_pre_hook(lambda *_: weigh("gradients", [it.grad for it in weights]))
        loss = step(stepper)
        hook.remove()
        weigh("weights", weights)
        weigh("optimizer", [slot for slots in stepper.optimizer.state.values() for slot in slots.values()])
        assert stepper.ema is not None
        weigh("average", stepper.ema.model.parameters())
        return loss

    Stepper.advance = step_and_weigh  # type: ignore[assignment,method-assign]
    train_shards(data, out, ())
    return found


@pytest.fixture(scope="module")
def shared(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, int]]]:
    out = tmp_path_factory.mktemp("runs") / "shared"
    return out, run_ranks(2, train_and_weigh, digits, out)


def test_two_processes_with_a_share_each_learn_what_one_learns(alone: Path, shared: tuple[Path, object]) -> None:
    assert_close_runs(alone, shared[0])
    norms = [[line["grad_norm"] for line in figures(run) if line["split"] == "train"] for run in (alone, shared[0])]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_each_of_two_processes_keeps_half(shared: tuple[object, list[dict[str, int]]]) -> None:
    whole = sum(parameter.nbytes for parameter in TinyNet(4).parameters())
    assert shared[1] == [dict.fromkeys(("gradients", "weights", "optimizer", "average"), whole / 2)] * 2


def test_blocks_of_a_chain_are_gathered_one_by_one_and_norms_with_the_model() -> None:
    model = TinyNet(4)
    assert list(_blocks(model)) == list(model.layer1)
    chain = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Linear(8, 4))
    assert list(_blocks(nn.ModuleDict({"chain": chain, "head": nn.Linear(8, 4)}))) == [chain[0], chain[3]]


@pytest.mark.parametrize("given", [None, Checkpoint(Path("step-00000001"), {}, {})])
def test_who_has_looked_for_a_checkpoint_reads_it_no_second_time(given: Checkpoint | None, tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    assert share_checkpoint(World(sharded=True), cs.Run(tmp_path), given) is given


def flip_a_byte_at_the_end(path: Path) -> None:
    """Of the last rows of the last tensor, which the last process has written."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_killed_job_goes_on_bit_for_bit_from_before_a_damaged_share(
    shared: tuple[Path, object], digits: Path, tmp_path: Path
) -> None:
    step = int(np.random.default_rng().integers(7, STEPS))  # two checkpoints are there, of which one may be unfinished
    killed, other = run_ranks(2, train_shards, digits, tmp_path, (), At(step, signal.SIGKILL))
    assert killed == f"exit code {-signal.SIGKILL}"
    assert other.startswith("PeerLost 3: another process of this training has ended")
    newest = max(tmp_path.glob("checkpoints/step-*"))
    flip_a_byte_at_the_end(newest / "model.safetensors")
    assert run_ranks(2, train_shards, digits, tmp_path, ()) == ["finished"] * 2
    assert f"{newest.name} is passed over: model.safetensors is not" in (tmp_path / "log.txt").read_text()
    assert_same_run(shared[0], tmp_path)


def test_what_two_processes_began_with_shares_one_finishes_without_into_a_bundle(
    alone: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = run_ranks(2, train_shards, digits, tmp_path, (), At(9, signal.SIGTERM))
    assert stopped[0].startswith("TrainingInterrupted 143: stopped by SIGTERM after step 10 of 18")
    name_tiny(monkeypatch)
    run = cs.train(cs.load_recipe("digits", TINY), digits, tmp_path)
    assert_close_runs(alone, tmp_path)
    best = max(line["top1"] for line in run.metrics if line["split"] == "val")
    assert cs.evaluate(run.bundle, digits).top1 == best


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(8))
def test_killed_at_any_moment_a_job_goes_on_bit_for_bit(
    shared: tuple[Path, object], digits: Path, tmp_path: Path, attempt: int
) -> None:
    moment = float(np.random.default_rng().uniform(0, 2))
    run_ranks(2, partial(train_shards_until, moment), digits, tmp_path)
    assert run_ranks(2, train_shards, digits, tmp_path, ()) == ["finished"] * 2
    assert_same_run(shared[0], tmp_path)


def train_shards_until(moment: float, data: Path, out: Path) -> str:
    """Train until the second process is killed so many seconds after the first checkpoint has begun."""

    def kill() -> None:
        while not any(out.glob("checkpoints/*")):
            time.sleep(0.01)
        time.sleep(moment)
        os.kill(os.getpid(), signal.SIGKILL)

    if World.of_environment().rank == 1:
        threading.Thread(target=kill, daemon=True).start()
    return train_shards(data, out, ())


@pytest.mark.slow
def test_three_processes_whose_shares_are_not_of_one_size_go_on_bit_for_bit(digits: Path, tmp_path: Path) -> None:
    batch = ("batch.size=12",)
    once, twice = tmp_path / "once", tmp_path / "twice"
    assert run_ranks(3, train_shards, digits, once, batch) == ["finished"] * 3
    run_ranks(3, train_shards, digits, twice, batch, At(5, signal.SIGKILL, batch=12))
    assert run_ranks(3, train_shards, digits, twice, batch) == ["finished"] * 3
    assert_same_run(once, twice)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer.name=adamw", "optimizer.lr=0.01"),
        ("optimizer.name=rmsprop", "optimizer.lr=0.001"),
        ("optimizer.name=lamb", "optimizer.lr=0.01"),
        ("optimizer.name=lion", "optimizer.lr=0.001"),
        ("model.gradient_checkpointing=true",),
        ("freeze={names: backbone, epochs: 1}",),
    ],
    ids=lambda overrides: overrides[0],
)
def test_whatever_a_recipe_switches_on_is_shared_out(digits: Path, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    few = ("schedule.epochs=2", "schedule.warmup_epochs=0", *overrides)
    assert run_ranks(1, train_tiny, digits, tmp_path / "1", few) == ["finished"]
    assert run_ranks(2, train_shards, digits, tmp_path / "2", few) == ["finished"] * 2
    assert_close_runs(tmp_path / "1", tmp_path / "2")


def train_on_nothing(data: Path, out: Path) -> str:
    """Images that one process sees are no numbers."""
    if World.of_environment().rank == 1:
        from convsmith.training.parts import Parts

        as_input = Parts.as_input
        Parts.as_input = lambda parts, images: as_input(parts, images) * math.nan  # type: ignore[assignment,method-assign]
    return train_shards(data, out, ())


@pytest.mark.slow
def test_a_loss_that_is_no_number_in_one_process_ends_all(digits: Path, tmp_path: Path) -> None:
    first, second = run_ranks(2, train_on_nothing, digits, tmp_path)
    assert first == second
    assert first.startswith("Diverged 2: the training loss is not a finite number")
    assert "the first layer with values that are not finite is `conv1`" in first


class InEvaluation(Observer):
    """Asks to stop while the first epoch is evaluated."""

    def progress(self, phase: str, done: int, total: int) -> None:
        if phase == "evaluate":
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.slow
def test_a_run_that_was_stopped_in_an_evaluation_begins_with_that(
    shared: tuple[Path, object], digits: Path, tmp_path: Path
) -> None:
    stopped = run_ranks(2, train_shards, digits, tmp_path, (), InEvaluation())
    assert "stopped by SIGTERM after step 6 of 18" in stopped[0]
    assert run_ranks(2, train_shards, digits, tmp_path, ()) == ["finished"] * 2
    assert_same_run(shared[0], tmp_path)


def gradients_with_and_without_shares(name: str) -> float:
    """The largest difference between them, of a model without dropout, as a part of the tensor's largest value."""
    from convsmith.training.parallel.sharding import Shards

    def loss(output: Tensor | list[Tensor]) -> Tensor:
        maps = output if isinstance(output, list) else [output]
        return torch.stack([it.square().mean() for it in maps]).sum()

    with joined(sharded=True) as world:
        torch.manual_seed(0)
        plain = cs.create_model(name, num_classes=3).eval()
        model = copy.deepcopy(plain)
        shards = Shards(model, world)
        images = torch.randn(1, 3, 64, 64)
        loss(plain(images)).backward()  # type: ignore[no-untyped-call]
        loss(shards.model(images)).backward()  # type: ignore[no-untyped-call]
        worst = 0.0
        for parameter, own in zip(plain.parameters(), model.parameters(), strict=True):
            if parameter.grad is not None:
                share = shared_out(parameter.grad, own)
                assert own.grad is not None
                worst = max(worst, float((kept(own.grad) - kept(share)).abs().amax() / parameter.grad.abs().amax()))
        with shards.whole(model), torch.inference_mode():
            if world.leads:  # alone
                assert torch.isfinite(loss(model(images)))
        assert sum(kept(it.detach()).numel() for it in model.parameters()) < 0.51 * sum(
            map(Tensor.numel, plain.parameters())
        )
        return worst


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["resnet50", "convnext_tiny", "hrnet_w18", "hrnet_w18_ocr", "resnest50", "mobilenet_v2", "convnext_tiny_upernet",
     "timm/efficientnet_b0", "torchvision/vgg11"],
)  # fmt: skip
def test_models_of_all_families_can_be_shared_out(name: str) -> None:
    assert max(run_ranks(2, gradients_with_and_without_shares, name)) < 1e-4
