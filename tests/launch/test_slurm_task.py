"""What a task of a Slurm job does around the command that it runs, with no Slurm."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from convsmith.launch import slurm
from convsmith.launch.report import OUT_OF_MEMORY
from convsmith.launch.slurm import Resources, SlurmTask, _parameters

TIME_IS_UP = 128 + signal.SIGUSR1
VARIABLES = {
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1",
    "SLURM_JOB_ID": "10007",
}
TASK = SlurmTask(("train", "digits"), local_size=2, threads=5, max_requeues=3)


@pytest.fixture(autouse=True)
def _in_a_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process have the variables of one of eight, and all that a task changes be as before afterwards."""
    handlers = {number: signal.getsignal(number) for number in slurm._SIGNALS}
    before = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"):
        os.environ.pop(name, None)
    os.environ |= VARIABLES
    monkeypatch.setattr(sys, "argv", sys.argv)
    yield
    os.environ.clear()
    os.environ |= before
    for number, handler in handlers.items():
        signal.signal(number, handler)


def let_it_end_with(code: object, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Let the command end so; what it was run with."""
    ran = list[dict[str, Any]]()

    def run(name: str, **options: Any) -> None:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
                 "OMP_NUM_THREADS")  # fmt: skip
        variables = {it: os.environ[it] for it in names}
        ran.append({"module": name, "words": sys.argv, "options": options, "variables": variables})
        if code is not None:
            sys.exit(code)  # type: ignore[arg-type]

    monkeypatch.setattr(runpy, "run_module", run)
    return ran


def let_scontrol_answer(monkeypatch: pytest.MonkeyPatch, returncode: int = 0, stderr: str = "") -> list[list[str]]:
    asked = list[list[str]]()

    def run(words: list[str], **_: object) -> Any:
        asked.append(words)
        return SimpleNamespace(returncode=returncode, stderr=stderr)

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_a_task_runs_the_command_as_torchrun_would(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = let_it_end_with(None, monkeypatch)
    TASK()
    assert ran == [
        {
            "module": "convsmith.cli.main",
            "words": ["convsmith", "train", "digits"],
            "options": {"run_name": "__main__", "alter_sys": True},
            "variables": {
                "RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1",
                "MASTER_PORT": "20007", "OMP_NUM_THREADS": "5",
            },
        }
    ]  # fmt: skip
    assert all(signal.getsignal(number) == signal.SIG_IGN for number in (signal.SIGTERM, signal.SIGUSR1))


def test_the_threads_that_the_user_has_set_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = let_it_end_with(0, monkeypatch)
    os.environ["OMP_NUM_THREADS"] = "2"
    TASK()
    assert ran[0]["variables"]["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize(
    ("rank", "code", "ended", "requeues"),
    [
        ("0", None, None, False),
        ("0", 0, None, False),
        ("0", 2, 2, False),
        ("3", 143, 143, False),
        ("0", TIME_IS_UP, None, True),
        ("3", TIME_IS_UP, 0, False),
        ("3", OUT_OF_MEMORY, None, True),
    ],
)
def test_a_job_queues_again_when_it_has_to_begin_anew(
    rank: str, code: int | None, ended: int | None, requeues: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_it_end_with(code, monkeypatch)
    asked = let_scontrol_answer(monkeypatch)
    os.environ["SLURM_PROCID"] = rank
    if requeues or ended is not None:
        with pytest.raises(SystemExit) as exited:
            TASK()
        assert exited.value.code == ended
    else:
        TASK()
    assert asked == ([["scontrol", "requeue", "10007"]] if requeues else [])


@pytest.mark.parametrize("before", [0, 2])
def test_a_job_of_an_array_queues_again_by_the_arrays_number(
    before: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = let_scontrol_answer(monkeypatch)
    os.environ |= {"SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "4", "SLURM_RESTART_COUNT": str(before)}
    assert TASK._requeue() is None
    assert asked == [["scontrol", "requeue", "9_4"]]
    assert capsys.readouterr().err == "job 9_4 is requeued\n"


def test_a_job_does_not_queue_again_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = let_scontrol_answer(monkeypatch)
    os.environ["SLURM_RESTART_COUNT"] = "3"
    assert TASK._requeue() == "job 10007 was requeued 3 times, and is not again: --max-requeues"
    assert asked == []


def test_a_job_that_slurm_does_not_requeue_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    let_scontrol_answer(monkeypatch, 1, "Job is held\n")
    told = TASK._requeue()
    assert told == "job 10007 cannot be requeued: Job is held; `convsmith launch slurm` as before goes on with it"


def test_a_signal_outside_of_a_training_ends_the_task_with_its_code() -> None:
    with pytest.raises(SystemExit) as exited:
        slurm._exit(15, None)
    assert exited.value.code == 143


def test_resources_are_asked_for_in_submitit_s_words() -> None:
    asked = _parameters(Resources(2, 8, 8, 4, 90, more={"mem-per-cpu": "1G", "exclusive": True}))
    assert asked == {
        "job_name": "convsmith", "partition": None, "time": 90, "nodes": 2, "ntasks_per_node": 8, "cpus_per_task": 4,
        "gpus_per_node": 8,
        "additional_parameters": {"signal": "USR1@120", "requeue": True, "mem_per_cpu": "1G", "exclusive": True},
        "srun_args": ["--cpus-per-task=4", "--cpu-bind=none", "--kill-on-bad-exit=1"],
    }  # fmt: skip
    assert Resources(1, 0, 1, 1, 1).max_requeues == 100
    assert _parameters(Resources(1, 0, 1, 1, 1))["gpus_per_node"] is None
