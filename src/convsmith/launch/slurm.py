"""A training as a Slurm job, by submitit.

Slurm starts each process as a task of its own, which finds out from Slurm's variables what torchrun would have set.
So a signal reaches every process, with nothing between that has to pass it on, and Slurm itself starts a lost job
again, on machines that are well. The command that a task runs goes on where it was: a requeue is all it takes.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from uuid import uuid4

from convsmith.errors import ConvsmithError, counted
from convsmith.launch.report import OUT_OF_MEMORY
from convsmith.launch.sbatch_options import sbatch_environment
from convsmith.system import lock, signals

_SIGNALS = signals("SIGTERM", "SIGUSR1")
_SCRIPT = "_submission.sh"
_PORTS = range(20_000, 30_000)  # below those that a system gives to clients


@dataclass(frozen=True)
class Resources:
    """Resources that a job asks Slurm for.

    Attributes:
        nodes: machines.
        gpus: of each machine.
        processes: of each machine; one for each GPU, or any number without.
        cpus: cores of each process.
        minutes: time limit.
        partition: None leaves it to Slurm.
        grace: seconds before the limit at which the job gets the signal to save.
        max_requeues: how often at most a job queues again whose time was up, or whose memory was too small.
        more: further options of sbatch by name; True for those without a value.
    """

    nodes: int
    gpus: int
    processes: int
    cpus: int
    minutes: int
    partition: str | None = None
    grace: int = 120
    max_requeues: int = 100
    more: Mapping[str, str | bool] = field(default_factory=dict)


def script(commands: Sequence[Sequence[str]], resources: Resources, folder: Path) -> str:
    """The script that `submit` gives to sbatch, with the commands as comments."""
    from submitit.slurm.slurm import _make_sbatch_string

    count = len(commands) if len(commands) > 1 else None
    worker = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(folder.absolute()))}"
    text = _make_sbatch_string(worker, folder.absolute(), map_count=count, **_parameters(resources))
    return text + "".join(f"# {i}: convsmith {shlex.join(command)}\n" for i, command in enumerate(commands))


def submit(commands: Sequence[Sequence[str]], resources: Resources, folder: Path) -> list[str]:
    """Queue a job for each command `convsmith ARGUMENTS`, as one array if there are several; their ids.

    Args:
        commands: arguments of the command line, of each job.
        resources: of each job.
        folder: on a file system that all machines share; for scripts and logs, `ID_RANK_log.err` and `.out`.

    Raises:
        ConvsmithError: there is no Slurm here, or it does not take the job.
    """
    from submitit.core.utils import DelayedSubmission

    if shutil.which("sbatch") is None:
        raise ConvsmithError(
            "sbatch is not to be found",
            "this is not a machine of a Slurm cluster",
            "Give the command on a login node; --dry-run prints the script anywhere.",
        )
    environment = sbatch_environment(os.environ, resources.partition)
    with _one_at_a_time(folder):
        if "dependency" not in resources.more:  # which lets it wait for the other
            _refuse_second_job(folder, commands, environment)
        text = folder / f".{uuid4().hex}.sh"
        text.write_text(script(commands, resources, folder))
        job = _sbatch(text, environment)
        text.replace(folder / f"{job}{_SCRIPT}")
    jobs = [f"{job}_{i}" for i in range(len(commands))] if len(commands) > 1 else [job]
    for name, arguments in zip(jobs, commands, strict=True):
        task = SlurmTask(tuple(arguments), resources.processes, resources.cpus, resources.max_requeues)
        written = folder / f".{name}.pkl"
        DelayedSubmission(task).dump(written)
        written.replace(folder / f"{name}_submitted.pkl")  # the job waits a minute for it
    return jobs


def _sbatch(text: Path, environment: Mapping[str, str]) -> str:
    """Queue a script; the number of the job."""
    asked = subprocess.run(
        ["sbatch", "--parsable", str(text)], env=environment, capture_output=True, text=True, check=False
    )
    # a site may print more around it, and with several clusters the name of one follows
    numbers = re.findall(r"^(\d+)(?:;\S*)?$", asked.stdout, re.MULTILINE)
    if asked.returncode or not numbers:
        text.unlink()
        raise ConvsmithError(
            "Slurm does not take the job",
            (asked.stderr.strip() or asked.stdout.strip() or "sbatch gives no number of a job"),
            "Change what is asked for; --dry-run prints the script.",
        )
    return str(numbers[-1])


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Make the folder, and let no other process queue a job of it in the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        lock(file.fileno(), wait=True)
        yield


def _refuse_second_job(folder: Path, commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> None:
    """Raise a ConvsmithError if Slurm still has a job of one of the run directories, of their ladder or its steps."""
    runs = [Path(words[words.index("--out") + 1]) for words in commands]
    places = {folder, *(run / folder.name for run in runs), *(run.parent / folder.name for run in runs)}
    before = {text.name.removesuffix(_SCRIPT): text.parent.parent for it in places for text in it.glob(f"*{_SCRIPT}")}
    command = ["squeue", "--noheader", "--all", "--format=%F %T"]
    if not before or shutil.which(command[0]) is None:
        return
    asked = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    for line in asked.stdout.splitlines():
        job, _, state = line.partition(" ")
        if job in before:
            raise ConvsmithError(
                f"job {job} is for {before[job]} already",
                f"it is {state.strip().lower()}, and goes on by itself",
                f"End it with `scancel {job}`, choose another --out, or let this one wait for it with --sbatch "
                f"dependency=afterany:{job}.",
            )


@dataclass(frozen=True)
class SlurmTask:
    """Work of each process of a job: run a command, and queue the job again if it has to begin anew before the end.

    Attributes:
        arguments: of the command line.
        local_size: processes of each machine.
        threads: that each computes with, unless `OMP_NUM_THREADS` says otherwise.
        max_requeues: how often at most the job queues again.
    """

    arguments: tuple[str, ...]
    local_size: int
    threads: int
    max_requeues: int

    def __call__(self) -> None:
        """Run it in this process, so that its signals are the command's."""
        for number in _SIGNALS:
            signal.signal(number, _exit)  # where nothing is being trained, nothing needs to be saved
        os.environ.update(self._world())
        os.environ.setdefault("OMP_NUM_THREADS", str(self.threads))
        sys.argv = ["convsmith", *self.arguments]
        code: str | int | None = None
        try:
            runpy.run_module("convsmith.cli.main", run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            code = ended.code
        finally:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # it ends now, and a signal would only change the exit code
        if code in [128 + number for number in signals("SIGUSR1")]:
            # not as a failure, which would end the others at once
            sys.exit(self._requeue() if os.environ["RANK"] == "0" else 0)
        if code == OUT_OF_MEMORY:  # begun again, all take smaller passes; the others wait for this one
            sys.exit(self._requeue())
        if code:
            sys.exit(code)

    def _world(self) -> dict[str, str]:
        """The variables of torchrun."""
        names = {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_NTASKS", "LOCAL_RANK": "SLURM_LOCALID"}
        return {
            **{ours: os.environ[slurms] for ours, slurms in names.items()},
            "LOCAL_WORLD_SIZE": str(self.local_size),
            # The first machine's, where the script runs. A node's name need not be one that the network knows.
            "MASTER_ADDR": os.environ["SLURM_LAUNCH_NODE_IPADDR"],
            "MASTER_PORT": str(_PORTS[int(os.environ["SLURM_JOB_ID"]) % len(_PORTS)]),
        }

    def _requeue(self) -> str | None:
        """Queue the job again; why not, if it cannot be."""
        array, job = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ["SLURM_JOB_ID"]
        if array is not None:  # the last one's own id is that of the whole array
            job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
        before = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        if before >= self.max_requeues:
            return f"job {job} was requeued {counted(before, 'time')}, and is not again: --max-requeues"
        again = "`convsmith launch slurm` as before goes on with it"
        try:
            asked = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        except OSError as error:  # not every site has Slurm's commands on all machines
            return f"job {job} cannot be requeued: scontrol on {socket.gethostname()}: {error.strerror}; {again}"
        if asked.returncode:
            return f"job {job} cannot be requeued: {asked.stderr.strip()}; {again}"
        print(f"job {job} is requeued", file=sys.stderr)
        return None


Task = SlurmTask  # as jobs that wait in a queue since before know it


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _parameters(resources: Resources) -> dict[str, Any]:
    """In submitit's words."""
    it = resources
    more = {name.replace("-", "_"): value for name, value in it.more.items()}  # or some would be there twice
    return {
        "job_name": "convsmith",
        "partition": it.partition,
        "time": it.minutes,
        "nodes": it.nodes,
        "ntasks_per_node": it.processes,
        "cpus_per_task": it.cpus,
        "gpus_per_node": it.gpus or None,
        "additional_parameters": {"signal": f"USR1@{it.grace}", "requeue": True, **more},
        # Else Slurm gives a task one core; bound to its own, it would count them as those of all tasks here. And a
        # process that fails before it meets the others would let them wait.
        "srun_args": [f"--cpus-per-task={it.cpus}", "--cpu-bind=none", "--kill-on-bad-exit=1"],
    }
