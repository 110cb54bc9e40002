"""`convsmith launch slurm` says where runs go that no --out places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from convsmith.cli.main import app
from convsmith.errors import ConvsmithError
from convsmith.launch.slurm import Resources

pytest.importorskip("submitit", reason="submitit is not installed: pip install '.[slurm]'")


@pytest.mark.parametrize(
    ("recipe", "place"), [("digits", "runs/digits"), ("cifar10", "runs/cifar10-ladder/cifar10-baseline")]
)
def test_a_run_and_a_ladder_have_usual_folders(
    recipe: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["launch", "slurm", recipe, "--data", "images", "--gpus", "0", "--dry-run"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert f"--out {place}\n" in result.stdout


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is given to Slurm, which numbers the jobs from 7 on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    given = list[tuple[Any, ...]]()

    def submit(commands: list[list[str]], resources: Resources, folder: Path) -> list[str]:
        given.append((commands, resources, folder))
        return [str(7 + number) for number in range(len(commands))]

    monkeypatch.setattr("convsmith.launch.slurm.submit", submit)
    return given


def run(words: str) -> str:
    result = CliRunner().invoke(app, ["launch", "slurm", *words.split()], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("words", "resources"),
    [
        ("", Resources(1, 1, 1, 8, 24 * 60)),
        ("--gpus 0", Resources(1, 0, 1, 8, 24 * 60)),
        ("--gpus 0 --processes 4", Resources(1, 0, 4, 8, 24 * 60)),
        ("--gpus 2 --processes 2", Resources(1, 2, 2, 8, 24 * 60)),
        (
            "--nodes 2 --gpus 4 --cpus 3 --time 90m --partition P --grace 60 --max-requeues 0 --sbatch mem=1G",
            Resources(2, 4, 4, 3, 90, "P", 60, 0, {"mem": "1G"}),
        ),
        ("--time 3d", Resources(1, 1, 1, 8, 3 * 24 * 60)),
        ("--time 72h", Resources(1, 1, 1, 8, 72 * 60)),
    ],
)
def test_a_job_asks_for_what_its_words_say(words: str, resources: Resources, submitted: list[tuple[Any, ...]]) -> None:
    told = run(f"digits --data images --out o {words}")
    command = ["train", "digits", "--data", "images", "--out", "o"]
    assert submitted == [([command], resources, Path("o/slurm"))]
    assert told == "job 7: o, log o/slurm/7_0_log.err\n"


def test_a_job_trains_with_all_options(submitted: list[tuple[Any, ...]]) -> None:
    words = "digits --data images --tracker mlflow --finetune w --shard --json seed=1"
    told = json.loads(run(words))
    ((commands, _, _),) = submitted
    options = ["--data", "images", "--tracker", "mlflow", "--finetune", "w", "--shard"]
    assert commands == [["train", "digits", *options, "--out", "runs/digits", "seed=1"]]
    assert told == {"jobs": ["7"], "logs": ["runs/digits/slurm/7_0_log.err"], "runs": ["runs/digits"]}


def test_a_ladder_says_the_command_that_collects_its_runs(submitted: list[tuple[Any, ...]]) -> None:
    lines = run("cifar10 --data images data.folds=2").splitlines()
    ((commands, _, _),) = submitted
    place = "runs/cifar10-ladder/cifar10-baseline/fold-1"
    options = ["--data", "images", "--out", place, "data.folds=2", "data.fold=1"]
    assert commands[1] == ["train", "cifar10-baseline", *options]
    assert len(lines) == len(commands) + 1
    assert lines[1] == f"job 8: {place}, log runs/cifar10-ladder/slurm/8_0_log.err"
    assert lines[-1] == "then: convsmith ablate cifar10 --data images --out runs/cifar10-ladder data.folds=2"


@pytest.mark.parametrize("time", ["0m", "h", "3", "3s", "x3h", "-3h"])
def test_a_time_is_a_number_of_minutes_hours_or_days(time: str, submitted: list[tuple[Any, ...]]) -> None:
    with pytest.raises(ConvsmithError, match=f"--time {time} is not a time".replace("--time ", "")):
        run(f"digits --data images --time={time}")
    assert submitted == []
