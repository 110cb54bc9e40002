"""Training on a GPU: the same numbers as on the CPU, exact resume, precision, compilation, processes, memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import convsmith as cs
from convsmith.data.scenes import write_digit_scenes
from convsmith.devices import ACCELERATORS
from convsmith.training.observers.base import Observer
from convsmith.training.train import TrainingInterrupted
from tests.gpu.conftest import RECIPE, Train, training_on

pytestmark = pytest.mark.gpu

PATIENCE = 600  # seconds after which a process hangs


def losses(run: cs.Run, split: str = "train") -> list[float]:
    return [line["loss"] for line in run.metrics if line["split"] == split]


def weights(run: cs.Run) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoints / "last" / "model.safetensors")


def test_the_device_trains(run: cs.Run, device: str) -> None:
    assert f"{device} in " in (run.path / "log.txt").read_text()
    assert max(line["top1"] for line in run.metrics if line["split"] == "val") > 0.5


def test_what_varies_is_said_before_the_first_step(run: cs.Run, device: str) -> None:
    log = (run.path / "log.txt").read_text()
    varies = ACCELERATORS[device].varies
    assert (f"on {device}, {varies}" in log.partition("step 0 of")[0]) == bool(varies)


def test_steps_in_float32_are_those_of_the_cpu(device: str, train: Train) -> None:
    options = (
        "precision=fp32",
        "schedule.epochs=1",
        "optimizer.lr=0.005",
    )  # at a high rate rounding grows from step to step
    here, there = (train(it, *options) for it in (device, "cpu"))
    assert losses(here) == pytest.approx(losses(there), rel=0.02)
    assert losses(here, "val") == pytest.approx(losses(there, "val"), rel=0.05)


def test_steps_on_masks_are_those_of_the_cpu(device: str, tmp_path: Path) -> None:
    write_digit_scenes(tmp_path / "scenes", 16, 4, (48, 64))
    runs = []
    for name in (device, "cpu"):
        with training_on(name):
            options = "precision=fp32", "schedule.epochs=1", "data.workers=0", "compile=false", "batch.size=8"
            runs.append(cs.train(cs.load_recipe("digit-scenes", options), tmp_path / "scenes", tmp_path / name / "run"))
    assert losses(runs[0]) == pytest.approx(losses(runs[1]), rel=0.05)


class Stop(Observer):
    """Sends this process Ctrl-C in the second epoch."""

    def __init__(self) -> None:
        self.epochs = 0

    def progress(self, phase: str, done: int, total: int) -> None:
        if phase == "train" and self.epochs == 1 and done > total // 2:
            self.epochs += 1
            signal.raise_signal(signal.SIGINT)

    def metrics(self, record: Any) -> None:
        self.epochs += record.split == "train"


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    run: cs.Run, device: str, train: Train, tmp_path: Path
) -> None:
    with pytest.raises(TrainingInterrupted):
        train(device, out=tmp_path / "run", observers=[Stop()])
    again = train(device, out=tmp_path / "run")
    one, two = weights(run), weights(again)
    if device in ("cuda", "cpu"):
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert losses(run) == losses(again)
    else:  # where torch promises less
        assert losses(run) == pytest.approx(losses(again), rel=0.05)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_as_float32_does(device: str, train: Train, precision: str) -> None:
    if (precision, device) == ("fp16", "cpu"):
        pytest.skip("a CPU does not train in fp16")
    mixed, plain = (train(device, f"precision={it}", "schedule.epochs=1") for it in (precision, "fp32"))
    assert losses(mixed) == pytest.approx(losses(plain), rel=0.1)
    assert all(it.dtype != torch.float16 for it in weights(mixed).values())
    scales = [line.get("loss_scale") for line in mixed.metrics if line["split"] == "train"]
    assert all(scales) == (precision == "fp16")


def test_a_compiled_model_learns_as_it_does_otherwise(device: str, train: Train) -> None:
    compiled, eager = (train(device, f"compile={it}", "schedule.epochs=1") for it in ("true", "false"))
    assert losses(compiled) == pytest.approx(losses(eager), rel=0.05)


def test_several_processes_learn_as_one(device: str, data: Path, run: cs.Run, tmp_path: Path) -> None:
    count = torch.get_device_module(device).device_count() if device in ("cuda", "xpu") else 2
    if count < 2:
        pytest.skip("there is one GPU only")
    command = [sys.executable, "-m", "convsmith", "train", "digits", "--data", data, "--out", tmp_path / "run", *RECIPE]
    finished = subprocess.run(
        [*map(str, command), "--devices", str(count)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert finished.returncode == 0, finished.stderr
    together = cs.Run(tmp_path / "run")
    assert json.loads((together.path / "plan.json").read_text())["world_size"] == count
    assert losses(together) == pytest.approx(losses(run), rel=0.25)  # BatchNorm sees a part of the images


def test_a_step_that_does_not_fit_is_taken_in_smaller_passes(device: str, train: Train) -> None:
    most = 16

    def ask_for_too_much(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if module.training and isinstance(module, nn.Conv2d) and len(inputs[0]) > most:
            torch.empty(1 << 60, dtype=torch.uint8, device=inputs[0].device)  # of the real allocator

    hook = nn.modules.module.register_module_forward_pre_hook(ask_for_too_much)
    try:
        run = train(device, "schedule.epochs=1", "batch.per_device=64")
    finally:
        hook.remove()
    plan = run.plan
    assert (plan["per_device_batch"], plan["accumulation"], plan["effective_batch"]) == (most, 4, 64)
    assert "out of memory with 64 images in a forward pass" in (run.path / "log.txt").read_text()


def test_all_memory_may_be_asked_for_and_the_run_goes_on(device: str, train: Train) -> None:
    if device == "cpu":
        pytest.skip("a CPU's memory is that of the machine")
    memory = torch.get_device_module(device)
    memory.empty_cache()
    memory.set_per_process_memory_fraction(0.02)
    try:
        options = "schedule.epochs=1", "batch.size=1024", "batch.per_device=1024", "augment.random_crop.size=224"
        run = train(device, *options, "preprocess.resize=224", "preprocess.crop=224")
    finally:
        memory.set_per_process_memory_fraction(1.0)
    assert run.plan["per_device_batch"] < 1024
    assert losses(run)[0] > 0
