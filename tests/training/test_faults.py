"""Killed at moments that nobody chose: what is left goes on to the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from safetensors.torch import save_file

from convsmith.training.observers.base import Observer
from tests.launch.test_local import processes_of
from tests.training.conftest import SMALL
from tests.training.ranks import answers_of, run_ranks, start_ranks, train_tiny
from tests.training.test_interrupted import assert_same_run

KILLS = 20
LONG = ("schedule.epochs=100", "data.workers=1")
RECIPE = (
    *SMALL,
    "schedule.epochs=80",
    "batch.per_device=4",
    "ema.decay=0.9",
    "checkpoint.every_steps=2",
    "data.workers=1",
)


class KillInEvaluation(Observer):
    """Ends this process after the first images of the second evaluation."""

    def __init__(self) -> None:
        self.evaluations = 0

    def progress(self, phase: str, done: int, total: int) -> None:
        self.evaluations += phase == "evaluate" and done <= 2
        if self.evaluations == 2:
            os.kill(os.getpid(), signal.SIGKILL)


def train_and_die_while_a_checkpoint_is_written(data: Path, out: Path, step: int) -> str:
    """Its model's file is complete by then, the others are not there."""

    def save_half(tensors: dict[str, Any], file: Path) -> None:
        save_file(tensors, file)
        if f"step-{step:08d}" in file.parent.name:
            os.kill(os.getpid(), signal.SIGKILL)

    with mock.patch("convsmith.training.checkpoints.checkpoint.save_file", save_half):
        return train_tiny(data, out, ())


def test_a_run_killed_in_an_evaluation_goes_on_to_the_same_bytes(alone: Path, digits: Path, tmp_path: Path) -> None:
    assert run_ranks(1, train_tiny, digits, tmp_path, (), KillInEvaluation()) == ["exit code -9"]
    assert run_ranks(1, train_tiny, digits, tmp_path, ()) == ["finished"]
    assert_same_run(alone, tmp_path)


def test_a_run_killed_while_it_writes_a_checkpoint_goes_on_to_the_same_bytes(
    alone: Path, digits: Path, tmp_path: Path
) -> None:
    assert run_ranks(1, train_and_die_while_a_checkpoint_is_written, digits, tmp_path, 8) == ["exit code -9"]
    assert list(tmp_path.glob("checkpoints/.convsmith-new.step-00000008.*"))
    assert run_ranks(1, train_tiny, digits, tmp_path, ()) == ["finished"]
    assert_same_run(alone, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "victims"), [(1, 1), (2, 1), (2, 2)])
def test_twenty_kills_at_random_moments_change_no_byte(
    digits: Path, tmp_path: Path, processes: int, victims: int
) -> None:
    random = np.random.default_rng(10 * processes + victims)
    out, torn = tmp_path / "run", 0
    for number in range(KILLS):
        started = start_ranks(processes, train_tiny, digits, out, LONG)
        target = newest_step(out) + random.integers(0, 16)
        while newest_step(out) < target:
            assert all(process.is_alive() for process, _ in started), f"ended before kill {number}"
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.2))
        chosen = random.choice(processes, victims, replace=False)
        for rank in chosen:
            started[rank][0].kill()
        told = answers_of(started)
        assert [told[rank] for rank in chosen] == ["exit code -9"] * victims
        torn += any(out.glob("checkpoints/.convsmith-*"))
    done = newest_step(out)
    assert run_ranks(processes, train_tiny, digits, out, LONG) == ["finished"] * processes
    print(
        f"{KILLS} kills of {victims} in {processes}, {torn} while a checkpoint was written, the last after step {done}"
    )
    assert run_ranks(processes, train_tiny, digits, tmp_path / "reference", LONG) == ["finished"] * processes
    assert_same_run(tmp_path / "reference", out)


def newest_step(out: Path) -> int:
    return max((int(path.name[5:]) for path in out.glob("checkpoints/step-*")), default=0)


def command(data: Path, out: Path, *words: str) -> list[str]:
    return ["-m", "convsmith.cli.main", "train", "digits", "--data", str(data), "--out", str(out), *RECIPE, *words]


def begin(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with log.open("a") as file:
        return subprocess.Popen([sys.executable, *words], stdout=file, stderr=file, env=environment)


def until_it_trains(process: subprocess.Popen[bytes], log: Path, begun: int) -> bool:
    """Whether it does, the `begun`-th time that it says so; False when it has ended."""
    while process.poll() is None:
        if log.read_text().count("\nstep ") >= begun:
            return True
        time.sleep(0.01)
    return False


def run_to_the_end(words: list[str], log: Path) -> None:
    assert begin(words, log).wait(600) == 0, log.read_text()[-3000:]


@pytest.mark.slow
def test_plain_torchrun_starts_lost_processes_again_to_the_same_bytes(digits: Path, tmp_path: Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=5"]
    out, log = tmp_path / "run", tmp_path / "log"
    log.touch()
    process = begin([*torchrun, *command(digits, out)], log)
    for number, delay in enumerate(np.random.default_rng(8).uniform(0, 1.5, 5)):
        assert until_it_trains(process, log, number + 1), log.read_text()[-3000:]
        time.sleep(delay)
        os.kill(processes_of(process.pid)[number % 2], signal.SIGKILL)
    assert process.wait(600) == 0, log.read_text()[-3000:]
    run_to_the_end([*torchrun, *command(digits, tmp_path / "reference")], log)
    assert_same_run(tmp_path / "reference", out)
