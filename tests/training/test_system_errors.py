"""What the system refuses while a run is under way is told in two lines, with the true cause."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from convsmith.errors import ConvsmithError
from convsmith.training.checkpoints.checkpoint import save_checkpoint, tidy
from convsmith.training.observers.base import Observer, Record
from convsmith.training.run import Run
from tests.training.ranks import run_ranks, train_tiny

ONE_EPOCH = ("schedule.epochs=1",)


class AtFirstStep(Observer):
    """Does something once, after the first step."""

    def __init__(self, action: Callable[[Path], None], out: Path) -> None:
        self.action: Callable[[Path], None] | None = action
        self.out = out

    def progress(self, phase: str, done: int, total: int) -> None:
        if phase == "train" and self.action:
            self.action(self.out)
            self.action = None


def train(data: Path, out: Path, *observers: Observer) -> str:
    (told,) = run_ranks(1, train_tiny, data, out, ONE_EPOCH, *observers)
    assert isinstance(told, str)
    return told


@pytest.mark.parametrize("name", ["log.txt", "plan.json", "recipe.yaml", "metrics.jsonl", ".lock", ".holder"])
def test_a_folder_in_place_of_a_file_of_the_run_is_named(digits: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "run" / name).mkdir(parents=True)
    told = train(digits, tmp_path / "run")
    assert told.startswith(f"ConvsmithError 2: the run directory {tmp_path / 'run'} cannot be written: ")
    assert name in told
    assert "A folder stands where a file belongs: move it away." in told
    assert len(told.splitlines()) == 2


@pytest.mark.parametrize("name", ["log.txt", "plan.json", "recipe.yaml", "metrics.jsonl", ".lock", ".holder"])
def test_a_pipe_in_place_of_a_file_of_the_run_is_named_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConvsmithError, match=f"{name} is not a file"), Run(tmp_path).lock():
        pass


def test_a_file_in_place_of_tensorboards_folder_costs_its_curves_alone(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "tensorboard").touch()
    assert train(digits, tmp_path) == "finished"
    assert "the training goes on without TensorBoard" in (tmp_path / "log.txt").read_text()


def test_a_limit_of_memory_that_a_power_cut_has_emptied_limits_nothing(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "forward_batch_limit").touch()
    assert train(digits, tmp_path) == "finished"


def rename(out: Path) -> None:
    out.rename(out.with_name("renamed"))


@pytest.mark.parametrize("action", [rename, shutil.rmtree], ids=["renamed", "removed"])
def test_a_run_directory_that_goes_away_ends_the_run_and_does_not_come_back(
    digits: Path, tmp_path: Path, action: Callable[[Path], None]
) -> None:
    out = tmp_path / "run"
    told = train(digits, out, AtFirstStep(action, out))
    assert told.startswith(f"ConvsmithError 2: the run directory {out} is not the one that this training began with")
    assert not out.exists()
    if action is rename:
        (tmp_path / "renamed").rename(out)
        assert train(digits, out) == "finished"


def test_a_name_that_is_too_long_asks_for_a_shorter_one(digits: Path, tmp_path: Path) -> None:
    assert "Choose a shorter name." in train(digits, tmp_path / ("x" * 300))


@pytest.mark.slow
def test_a_run_may_have_the_longest_name_that_there_is(digits: Path, tmp_path: Path) -> None:
    assert train(digits, tmp_path / ("x" * 255)) == "finished"


def test_an_old_checkpoint_that_cannot_be_removed_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))

    for step in (1, 2):
        save_checkpoint(tmp_path, step, {}, {})
    monkeypatch.setattr("convsmith.training.checkpoints.checkpoint.shutil.rmtree", refuse)
    tidy(tmp_path, 2, keep=1)
    assert "step-00000001 cannot be removed (Input/output error)" in caplog.text
    assert (tmp_path / "last").resolve().name == "step-00000002"


class Metrics(Observer):
    """Cuts the disk off from metrics.jsonl: no byte more goes into its file."""

    def metrics(self, record: Record) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def test_metrics_that_cannot_be_written_are_told_by_their_file(digits: Path, tmp_path: Path) -> None:
    told = train(digits, tmp_path, Metrics())
    assert told.startswith("ConvsmithError 2: ")
    assert "File too large" in told
    assert train(digits, tmp_path) == "finished"
