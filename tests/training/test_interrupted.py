"""Real processes, really killed: what they leave goes on bit for bit as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import convsmith as cs
from convsmith.training.observers.base import Observer
from convsmith.training.train import TrainingInterrupted
from tests.forked import Command
from tests.training.conftest import SMALL

RECIPE = (
    *SMALL,
    "model.name=tiny",
    "schedule.epochs=8",
    "ema.decay=0.9",
    "checkpoint.every_steps=2",
    "batch.per_device=4",
)


def start(data: Path, out: Path, *overrides: str) -> Command:
    words = ("train", "digits", "--data", str(data), "--out", str(out), *RECIPE, *overrides)
    return Command(*words, errors=out.with_suffix(".errors"), packed=False)


def finish(data: Path, out: Path, *overrides: str) -> str:
    process = start(data, out, *overrides)
    errors = process.finish()
    assert process.poll() == 0, errors
    return errors


def wait_for_step(process: Command | subprocess.Popen[str], out: Path, step: int) -> None:
    """Until a checkpoint of at least `step` is there, and the training still runs."""
    while process.poll() is None:
        if any(int(path.name[5:]) >= step for path in out.glob("checkpoints/step-*")):
            return
        time.sleep(0.005)
    pytest.fail(f"the training ended first: {(out / 'log.txt').read_text()}")


def assert_same_run(one: Path, two: Path) -> None:
    for name in ("model", "ema", "optimizer"):
        for link in ("last", "best"):
            a, b = (load_file(run / "checkpoints" / link / f"{name}.safetensors") for run in (one, two))
            assert a.keys() == b.keys()
            assert all(torch.equal(a[key], b[key]) for key in a), f"{link} {name} differs"
    assert figures(one) == figures(two)
    left = [{path.relative_to(run) for path in run.glob("checkpoints/*")} for run in (one, two)]
    assert left[0] == {path for path in left[1] if not path.name.startswith("damaged-")}
    assert not list(two.rglob(".convsmith-*"))


def figures(out: Path) -> list[dict[str, object]]:
    timings = ("images_per_second", "seconds", "step_seconds", "data_seconds")
    return [{k: v for k, v in line.items() if k not in timings} for line in cs.Run(out).metrics]


def state_of(out: Path) -> dict[str, object]:
    state: dict[str, object] = json.loads((out / "checkpoints" / "last" / "state.json").read_text())
    return state


@pytest.fixture(scope="module")
def uninterrupted(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "uninterrupted"
    finish(digits, out)
    return out


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_a_killed_run_goes_on_bit_for_bit_with_any_number_of_workers(
    uninterrupted: Path, digits: Path, tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "killed"
    with start(digits, out, "data.workers=1") as process:
        wait_for_step(process, out, 8)
        process.send_signal(signal.SIGKILL)
    assert process.poll() == -signal.SIGKILL
    finish(digits, out, f"data.workers={workers}")
    assert_same_run(uninterrupted, out)


@pytest.mark.parametrize("cache", ["disk", pytest.param("memory", marks=pytest.mark.slow)])
@pytest.mark.skipif(sys.platform != "linux", reason="data.cache is for Linux")
def test_a_killed_run_that_keeps_decoded_images_goes_on_as_if_it_kept_none(
    uninterrupted: Path, digits: Path, tmp_path: Path, cache: str
) -> None:
    out = tmp_path / "killed"
    with start(digits, out, "data.workers=1", f"data.cache={cache}") as process:
        wait_for_step(process, out, 8)
        process.send_signal(signal.SIGKILL)
    errors = finish(digits, out, f"data.cache={cache}", "data.workers=2", "data.cache_size=1MB")
    assert "decoded training images are kept" in errors
    assert_same_run(uninterrupted, out)
    kept = list(out.glob("cache/*"))
    assert [path.stat().st_size <= 1_000_000 for path in kept] == [True] * (cache == "disk")


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_a_signal_saves_says_how_to_go_on_and_exits(
    uninterrupted: Path, digits: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "stopped"
    with start(digits, out, "checkpoint.every_steps=null") as process:
        wait_for_step(process, out, 6)
        process.send_signal(number)
        errors = process.finish(timeout=60)
    assert process.poll() == code
    assert f"stopped by {number.name} after step" in errors
    assert "The same command goes on from there" in errors
    assert "Traceback" not in errors
    finish(digits, out)
    assert_same_run(uninterrupted, out)


def test_a_torn_newest_checkpoint_is_passed_over_and_the_result_is_the_same(
    uninterrupted: Path, digits: Path, tmp_path: Path
) -> None:
    out = tmp_path / "torn"
    with start(digits, out) as process:
        wait_for_step(process, out, 14)
        process.send_signal(signal.SIGKILL)
    newest = max(out.glob("checkpoints/step-*"))
    model = newest / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-100])
    errors = finish(digits, out)
    assert f"{newest.name} is passed over" in errors
    assert_same_run(uninterrupted, out)


def test_a_signal_during_the_check_of_the_files_ends_it_and_says_how_to_go_on(digits: Path, tmp_path: Path) -> None:
    class Impatient(Observer):
        def progress(self, phase: str, done: int, total: int) -> None:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(TrainingInterrupted, match="The same command goes on") as stopped:
        cs.train(cs.load_recipe("digits", SMALL), digits, tmp_path / "run", observers=[Impatient()])
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
