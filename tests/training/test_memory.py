"""Running out of memory costs speed, never the run: the same step is taken in smaller passes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from textwrap import dedent
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.training.memory import (
    OutOfMemory,
    depends_on_batch,
    is_out_of_memory,
    out_of_memory_is_named,
    smaller_batch,
)
from convsmith.training.run import limit_forward_batch
from convsmith.training.update.ema import Ema
from tests.launch.test_local import finish, start
from tests.training.linear_trainer import trainer
from tests.training.ranks import run_ranks, train_tiny
from tests.training.test_interrupted import assert_same_run, state_of
from tests.training.tiny_model import TinyNet

LIMIT = 2


class Hungry(TinyNet):
    """Asks the real allocator for more than any machine has when it is to learn from more than `LIMIT` images."""

    def forward_features(self, x: Tensor) -> Tensor:
        features = super().forward_features(x)
        if self.training and len(x) > LIMIT:
            torch.empty(1 << 60, dtype=torch.uint8)
        return features


def train_hungry(data: Path, out: Path, *overrides: str) -> str:
    return train_tiny(data, out, ("schedule.epochs=2", *overrides), network=Hungry)


def test_the_step_is_taken_again_in_smaller_passes_as_if_it_had_begun_with_those(digits: Path, tmp_path: Path) -> None:
    hungry, modest = tmp_path / "hungry", tmp_path / "modest"
    ramp = ("model.drop_path={end: 0.4}", "model.options.drop_path=null")
    assert run_ranks(1, train_hungry, digits, hungry, "batch.per_device=8", *ramp) == ["finished"]
    assert run_ranks(1, train_hungry, digits, modest, "batch.per_device=2", *ramp) == ["finished"]
    assert_same_run(modest, hungry)
    assert state_of(hungry) == {**state_of(hungry), "per_device_batch": 2, "step": 12}
    plan = json.loads((hungry / "plan.json").read_text())
    assert (plan["per_device_batch"], plan["accumulation"], plan["effective_batch"]) == (2, 4, 8)
    log = (hungry / "log.txt").read_text()
    assert "step 1 is taken in 4 passes of 2 images" in log
    assert "BatchNorm takes its statistics over those" in log


def test_with_one_image_there_is_nothing_left_but_to_say_what_to_change(digits: Path, tmp_path: Path) -> None:
    (answer,) = run_ranks(1, train_starving, digits, tmp_path)
    assert answer.startswith("OutOfMemory 2: out of memory with 1 image in a forward pass")
    assert "Set model.gradient_checkpointing=true, or train on smaller images" in answer


def train_starving(data: Path, out: Path) -> str:
    global LIMIT
    LIMIT = 0
    return train_hungry(data, out)


def test_where_the_model_cannot_learn_from_less_the_error_is_of_memory(digits: Path, tmp_path: Path) -> None:
    (answer,) = run_ranks(1, train_on_pairs, digits, tmp_path)
    assert answer.startswith("OutOfMemory 2: out of memory with 2 images in a forward pass")


def train_on_pairs(data: Path, out: Path) -> str:
    """Of two images at least, and memory has not even room for those."""
    global LIMIT
    LIMIT = 0
    alone = ConvsmithError("the model cannot be trained on one image at a time")
    with mock.patch("convsmith.training.fitting.replan", side_effect=alone):
        return train_hungry(data, out, "batch.per_device=2")


def train_with_a_greedy_average(data: Path, out: Path, *overrides: str) -> str:
    """The first update of the average, after that of the weights, asks for too much."""
    update, calls = Ema.update, 0

    def greedy(average: Ema, decay: float) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            torch.empty(1 << 60, dtype=torch.uint8)
        update(average, decay)

    with mock.patch.object(Ema, "update", greedy):
        return train_tiny(data, out, ("schedule.epochs=2", *overrides))


def test_a_step_whose_weights_may_have_moved_is_not_taken_again_but_all_since_the_last_checkpoint(
    digits: Path, tmp_path: Path
) -> None:
    greedy, modest = tmp_path / "greedy", tmp_path / "modest"
    assert run_ranks(1, train_with_a_greedy_average, digits, greedy, "batch.per_device=8") == ["finished"]
    assert run_ranks(1, train_tiny, digits, modest, ("schedule.epochs=2", "batch.per_device=4")) == ["finished"]
    assert_same_run(modest, greedy)
    assert "the training goes on from step 0 with 4 in a forward pass" in (greedy / "log.txt").read_text()


def test_an_evaluation_that_does_not_fit_is_made_in_parts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def ask_for_too_much(model: nn.Module, inputs: tuple[Tensor]) -> None:
        if not model.training and len(inputs[0]) > LIMIT:
            torch.empty(1 << 60, dtype=torch.uint8)

    roomy, roomy_notes = trainer(tmp_path / "roomy")
    tight, tight_notes = trainer(tmp_path / "tight")
    tight.parts.model.register_forward_pre_hook(ask_for_too_much)
    roomy.fit()
    tight.fit()
    judged = [[it.values for it in notes.records if it.split == "val"] for notes in (roomy_notes, tight_notes)]
    assert [pytest.approx(values) for values in judged[0]] == judged[1]
    assert "out of memory with 5 images in a forward pass" in caplog.text


def limit_rank_1(data: Path, out: Path) -> str:
    """Each process has a run directory of its own, as on machines that share no disk."""
    rank = World.of_environment().rank
    if rank == 1:
        limit_forward_batch(out / "1", 1)
    return train_tiny(data, out / str(rank), ("schedule.epochs=2",))


def test_the_limit_of_any_machine_is_that_of_all(digits: Path, tmp_path: Path) -> None:
    assert run_ranks(2, limit_rank_1, digits, tmp_path) == ["finished"] * 2
    assert state_of(tmp_path / "0")["per_device_batch"] == 1


@pytest.mark.slow
def test_several_processes_begin_again_with_smaller_passes(digits: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(let_convolutions_be_hungry(tmp_path)), os.environ.get("PYTHONPATH", "")])
    launcher = ("env", f"PYTHONPATH={path}", sys.executable)
    errors = finish(start(digits, tmp_path / "run", "--devices", "2", "schedule.epochs=2", launcher=launcher))
    assert "goes on from the last checkpoint with 2 in a forward pass" in errors
    assert state_of(tmp_path / "run")["per_device_batch"] == 2
    finish(start(digits, tmp_path / "modest", "--devices", "2", "schedule.epochs=2", "batch.per_device=2"))
    assert_same_run(tmp_path / "modest", tmp_path / "run")


def let_convolutions_be_hungry(folder: Path) -> Path:
    """A folder for PYTHONPATH, in whose processes they ask for too much when they learn from more than two images."""
    (folder / "sitecustomize.py").write_text(
        dedent("""
            import torch
            forward = torch.nn.Conv2d.forward
            def hungry(self, x):
                if self.training and len(x) > 2:
                    torch.empty(1 << 60, dtype=torch.uint8)
                return forward(self, x)
            torch.nn.Conv2d.forward = hungry
        """)
    )
    return folder


@pytest.mark.parametrize(("images", "fewer"), [(8, 4), (6, 3), (9, 3), (7, 1), (1, None)])
def test_fewer_images_in_a_pass_make_up_the_same_step(images: int, fewer: int | None) -> None:
    assert smaller_batch(images) == fewer


def test_what_the_allocator_says_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RuntimeError("CUDA out of memory. Tried 2 GiB.\nSee the docs."), ": CUDA out of memory. Tried 2 GiB.\nSet "),
        (MemoryError(), ": no memory is left\nSet "),
    ],
)
def test_the_first_line_of_the_allocator_is_the_reason(error: Exception, why: str) -> None:
    named = pytest.raises(OutOfMemory, match="out of memory with 3 images in a forward pass")
    with named as caught, out_of_memory_is_named(3):
        raise error
    assert why in str(caught.value)


def test_batch_norm_alone_depends_on_the_images_of_a_pass() -> None:
    assert depends_on_batch(nn.Sequential(nn.BatchNorm2d(2)))
    assert not depends_on_batch(nn.Sequential(nn.LayerNorm(2)))
