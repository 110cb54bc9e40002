"""Two processes train what one would, whatever happens to them."""

from __future__ import annotations

import json
import signal
import time
import weakref
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import distributed as dist
from torch import nn

import convsmith as cs
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.loading.loader import val_loader
from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.training.evaluation import evaluate
from convsmith.training.parallel.distributed import Poll, gather, joined, own_gpu, refuse_shared_gpus
from convsmith.training.parallel.replicas import Replicas
from convsmith.training.prepare import prepare_training, stepper_at_start
from convsmith.training.signals import StopRequest
from tests.training.ranks import TINY, At, run_ranks, train_tiny
from tests.training.test_interrupted import assert_same_run, figures
from tests.training.tiny_model import name_tiny

STEPS = 18


@pytest.fixture(scope="module")
def together(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "together"
    assert run_ranks(2, train_tiny, digits, out, ()) == ["finished"] * 2
    return out


def assert_close_runs(one: Path, two: Path) -> None:
    """What is learned is the same up to the order of sums; BatchNorm's statistics are of one process's images."""
    for name in ("model", "optimizer"):
        a, b = (load_file(run / "checkpoints" / "last" / f"{name}.safetensors") for run in (one, two))
        for key in a:
            if "running" not in key and "num_batches" not in key:
                torch.testing.assert_close(a[key], b[key], rtol=1e-4, atol=1e-5, msg=f"{name} {key} differs")
    losses = [[line["loss"] for line in figures(run) if line["split"] == "train"] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_two_processes_learn_what_one_learns(alone: Path, together: Path) -> None:
    assert_close_runs(alone, together)


def test_layers_that_are_frozen_for_an_epoch_learn_from_the_next_one_on(digits: Path, tmp_path: Path) -> None:
    freeze = ("freeze={names: backbone, epochs: 1}", "schedule.epochs=2")
    for count in (1, 2):
        assert run_ranks(count, train_tiny, digits, tmp_path / str(count), freeze) == ["finished"] * count
    assert_close_runs(tmp_path / "1", tmp_path / "2")


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_every_validation_image_is_judged_once(digits: Path, world_size: int) -> None:
    folder = open_image_folder(digits, None)
    read = folder.validation_reader("val", cs.load_recipe("digits", TINY[2:5]).preprocess)
    seen = [
        int(target)
        for rank in range(world_size)
        for batch in val_loader(folder.val, read, 3, workers=0, rank=rank, world_size=world_size)
        for target in batch.targets
    ]
    assert sorted(seen) == sorted(folder.val.targets.tolist())


def test_the_metrics_of_shares_are_exactly_those_of_one_process(
    digits: Path, together: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_tiny(monkeypatch)
    run = cs.Run(together)
    recipe = cs.load_recipe("digits", TINY)
    recipe, dataset, plan = prepare_training(recipe, digits)
    parts = stepper_at_start(recipe, plan, dataset, tmp_path).parts
    parts.model.load_state_dict(load_file(run.checkpoints / "last" / "ema.safetensors"))
    torch.set_num_threads(1)
    results = evaluate(parts, parts.model, parts.val)
    assert results is not None
    reported = {key: value for key, value in run.metrics[-1].items() if key not in ("step", "epoch", "split")}
    assert results.compute() == reported


def test_a_killed_job_goes_on_bit_for_bit(digits: Path, together: Path, tmp_path: Path) -> None:
    step = int(np.random.default_rng().integers(3, STEPS))
    killed, other = run_ranks(2, train_tiny, digits, tmp_path, (), At(step, signal.SIGKILL))
    assert killed == f"exit code {-signal.SIGKILL}"
    assert other.startswith("PeerLost 3: another process of this training has ended")
    assert run_ranks(2, train_tiny, digits, tmp_path, ()) == ["finished"] * 2
    assert_same_run(together, tmp_path)


def train_until_the_second_is_asked(data: Path, out: Path, step: int) -> str:
    """Only rank 1 gets the signal, which is where nobody observes."""
    if World.of_environment().rank == 1:
        from convsmith.training.stepper import Stepper

        advance = Stepper.advance

        def advance_and_ask(stepper: Stepper) -> object:
            if stepper.session.progress.step == step:
                signal.raise_signal(signal.SIGTERM)
            return advance(stepper)

        Stepper.advance = advance_and_ask  # type: ignore[assignment,method-assign]
    return train_tiny(data, out, ("checkpoint.every_steps=null",))


def test_a_signal_to_one_process_stops_all_after_the_same_step_with_a_checkpoint(
    digits: Path, together: Path, tmp_path: Path
) -> None:
    stopped = run_ranks(2, train_until_the_second_is_asked, digits, tmp_path, 8)
    assert stopped[0] == stopped[1]
    assert stopped[0].startswith("TrainingInterrupted 143: stopped by SIGTERM after step 10 of 18")
    assert (tmp_path / "checkpoints" / "last").resolve().name == "step-00000010"
    assert run_ranks(2, train_tiny, digits, tmp_path, ()) == ["finished"] * 2
    assert_same_run(together, tmp_path)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_with_another_number_of_processes_a_run_goes_on_with_the_same_samples(
    alone: Path, digits: Path, tmp_path: Path, before: int, after: int
) -> None:
    run_ranks(before, train_tiny, digits, tmp_path, (), At(9, signal.SIGTERM))
    assert run_ranks(after, train_tiny, digits, tmp_path, ()) == ["finished"] * after
    assert_close_runs(alone, tmp_path)
    assert f"began with {before} processes and goes on with {after}" in (tmp_path / "log.txt").read_text()


def test_forward_batches_that_do_not_divide_any_more_are_changed_and_it_is_said(digits: Path, tmp_path: Path) -> None:
    automatic = ("batch.per_device=auto", "batch.size=6", "schedule.epochs=2")
    (stopped,) = run_ranks(1, train_tiny, digits, tmp_path, automatic, At(1, signal.SIGTERM, batch=6))
    assert "stopped by SIGTERM after step 1" in stopped
    state = json.loads((tmp_path / "checkpoints" / "last" / "state.json").read_text())
    assert state["per_device_batch"] == 6
    assert run_ranks(2, train_tiny, digits, tmp_path, automatic) == ["finished"] * 2
    assert "began with 6 images in a forward pass and goes on with 3" in (tmp_path / "log.txt").read_text()


def hang() -> str:
    with joined(timedelta(seconds=1)) as world:
        if world.rank == 1:
            time.sleep(3)
        return str(gather(world, world.rank))


def test_a_process_that_hangs_is_an_error_within_the_stated_time() -> None:
    assert run_ranks(2, hang)[0].startswith("PeerLost 3: another process of this training has not answered for 1 sec")


def take_a_step(world: World) -> None:
    replicas = Replicas(nn.Linear(2, 2), world)
    replicas.begin_epoch()
    replicas.model(torch.ones(1, 2)).sum().backward()
    gather(world, world.rank)


def leave() -> bool:
    with joined() as world:
        group = weakref.ref(dist.group.WORLD)
        take_a_step(world)
    return group() is None


def test_threads_that_carry_messages_end_before_the_interpreter_which_they_would_abort() -> None:
    assert run_ranks(2, leave) == [True, True]


def wish() -> list[tuple[bool, bool]]:
    answers = []
    with joined() as world, StopRequest() as stop:
        poll = Poll(world, stop)
        for save, ask in ((False, False), (True, False), (False, True)):
            if ask and world.rank == 2:
                signal.raise_signal(signal.SIGINT)
            poll.open(save and world.rank == 1)
            poll.close()
            answers.append((poll.saving, poll.stopping))
        assert stop.signal == signal.SIGINT
    return answers


def test_what_one_process_wants_all_do() -> None:
    assert run_ranks(3, wish) == [[(False, False), (True, False), (False, True)]] * 3


def test_the_gpu_of_a_process_is_its_place_on_the_machine_or_the_only_one_that_it_sees() -> None:
    worlds = [World(rank=rank, size=2, local_rank=rank, local_size=2) for rank in (0, 1)]
    assert [own_gpu(world, seen=2) for world in worlds] == [0, 1]
    assert [own_gpu(world, seen=1) for world in worlds] == [0, 0]


def test_more_processes_than_gpus_are_refused() -> None:
    with pytest.raises(ConvsmithError, match="3 processes cannot share 2 GPUs"):
        own_gpu(World(rank=0, size=3, local_size=3), seen=2)


def test_processes_that_see_the_same_only_gpu_are_refused() -> None:
    refuse_shared_gpus(["a", "b"])
    with pytest.raises(ConvsmithError, match="2 processes cannot share 1 GPU: each needs its own"):
        refuse_shared_gpus(["a", "a"])
