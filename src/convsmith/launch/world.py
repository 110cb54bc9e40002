"""Which of how many processes this one is."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from datetime import timedelta

from convsmith.errors import ConvsmithError

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others before that is an error."""


@dataclass(frozen=True)
class World:
    """The processes that train together; one alone by default.

    Attributes:
        rank: this process, 0 to `size` - 1.
        size: processes on all machines.
        local_rank: this process among those of its machine.
        local_size: processes of this machine.
        placed: whether `local_rank` and `local_size` are known; else they are found out when the processes meet.
        sharded: each keeps only its share of the model, and all write checkpoints together.
        timeout: how long one waits for the others before that is an error.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    placed: bool = True
    sharded: bool = False
    timeout: timedelta = TIMEOUT

    @classmethod
    def of_environment(cls) -> World:
        """Read what launchers tell the processes that they start.

        That are torchrun's variables (`RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`), of which Kubeflow gives
        the first two; those of mpirun, jsrun, Flux, Horovod and Paddle; those of SageMaker; `TF_CONFIG`; and those of
        srun where `MASTER_ADDR` is set too, because srun may also start trainings that have nothing to do with each
        other. The pods of a Kubernetes job are counted where `WORLD_SIZE` is set.

        Raises:
            ConvsmithError: they do not say which of how many processes this one is.
        """
        for names in _LAUNCHERS:
            if found := _numbers(names):
                return cls(*found)
        if world := _of_sagemaker() or _of_tensorflow():
            return world
        _refuse_a_rank_alone()
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes files, shares of checkpoints apart, and talks to the user."""
        return self.rank == 0

    @property
    def grid(self) -> tuple[int, int]:
        """Machines, and processes of each; where these differ, all count as those of one machine."""
        nodes, rest = divmod(self.size, self.local_size)
        return (1, self.size) if rest else (nodes, self.local_size)


_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_OPEN_MPI = tuple(f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))
_LAUNCHERS = (
    _TORCHRUN,
    _OPEN_MPI,
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),  # MPICH and Intel MPI
    tuple(f"JSM_NAMESPACE_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")),
    tuple(f"HOROVOD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")),
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE", "FLUX_TASK_LOCAL_ID", ""),
    ("PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM", "", ""),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""),
)


_POD = "JOB_COMPLETION_INDEX"  # of an indexed job of Kubernetes, which does not say how many there are
LAUNCHER_VARIABLES = {*(name for names in _LAUNCHERS for name in names), _POD, "PMIX_RANK", "PMIX_NAMESPACE"} - {""}
"""Variables that tell a process its place among those of one launcher."""


def meeting_point(world: World) -> tuple[str, int]:
    """The address and port where the first process of several listens: `MASTER_ADDR` and `MASTER_PORT`.

    Where the launcher says that all are on one machine, it need not name them.

    Raises:
        ConvsmithError: they are not set, or cannot be right.
    """
    address, port = os.environ.get("MASTER_ADDR", "").strip(), os.environ.get("MASTER_PORT", "").strip()
    if not address and world.placed and world.local_size == world.size:
        address = "127.0.0.1"
    if not address and (first := _first_of_those_listed()):
        address, _, listed = first.rpartition(":")
        port = port or listed
    jobs = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "SM_HOSTS", "FLUX_JOB_ID", "LSB_JOBID")
    job = next(filter(None, map(os.environ.get, jobs)), None)
    if not port and job and not os.environ.get("RANK"):
        port = str(20_000 + zlib.crc32(job.encode()) % 10_000)  # below those that a system gives to clients
    if not address and job:
        address = next(iter(_hosts_of_sagemaker()), "")
    missing = [name for name, value in (("MASTER_ADDR", address), ("MASTER_PORT", port)) if not value]
    if missing:
        raise ConvsmithError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set",
            f"this is process {world.rank} of {world.size}, and they have to find each other",
            "Set MASTER_ADDR to the address of the machine of process 0, and MASTER_PORT to a port that is free there, "
            "for all of them.",
        )
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConvsmithError(
            f"MASTER_PORT is `{port}`", "a port is a number from 1 to 65535", "Set a port that is free."
        )
    return address, int(port)


def _numbers(names: tuple[str, ...]) -> tuple[int, int, int, int, bool] | None:
    """Rank, size, local rank and local size by these variables, and whether the last two are known; None for one alone.

    One that is there alone, and says that there are several, is an error: launchers set ranks and sizes together.
    """
    given = {name: os.environ[name].strip() for name in names if name in os.environ}
    rank, size, local_rank, local_size = names
    if names == _TORCHRUN and rank not in given and _POD in os.environ:
        if given.get(size, os.environ.get("MASTER_ADDR")):
            given[rank] = os.environ[_POD].strip()
    elif names != _TORCHRUN and not {rank, size} <= given.keys() and not _says_several(given, rank, size):
        return None
    if names[0] == "PMI_RANK" and (given.get(rank), given.get(size)) == _of_srun():
        return None  # what srun may tell besides its own
    if names[0].startswith("SLURM") and not os.environ.get("MASTER_ADDR"):
        return None
    if not given or given.get(size) == "1":
        return None
    values = {name: _number(name, given.get(name), given) for name in (rank, size)}
    if values[size] < 1 or not 0 <= values[rank] < values[size]:
        raise ConvsmithError(
            f"{rank} is {values[rank]} and {size} is {values[size]}",
            "processes count from 0 to one less than there are",
            f"Give each process a {rank} of its own, and all the same {size}.",
        )
    if not {local_rank, local_size} <= given.keys():
        return values[rank], values[size], 0, 1, False
    place, places = (_number(name, given[name], given) for name in (local_rank, local_size))
    if not 0 <= place < places <= values[size]:
        raise ConvsmithError(
            f"{local_rank} is {place} and {local_size} is {places}",
            f"{local_rank} counts the processes of one machine, and {size} is {values[size]}",
            "Leave both out, or give the right ones: without, convsmith finds out who is on which machine.",
        )
    return values[rank], values[size], place, places, True


def _says_several(given: dict[str, str], rank: str, size: str) -> bool:
    """Whether a rank without a size, or a size without a rank, is that of one of several processes."""
    return not rank.startswith("SLURM") and (
        given.get(rank, "0") != "0" if size not in given else given[size] not in ("", "0", "1")
    )


def _of_srun() -> tuple[str | None, str | None]:
    return os.environ.get("SLURM_PROCID"), os.environ.get("SLURM_STEP_NUM_TASKS")


def _refuse_a_rank_alone() -> None:
    """Refuse PMIX_RANK of a launcher that tells nothing else; srun's may start trainings that are alone."""
    rank = os.environ.get("PMIX_RANK", "0")
    if rank != "0" and "SLURM_PROCID" not in os.environ:
        raise ConvsmithError(
            "WORLD_SIZE is not set",
            f"PMIX_RANK={rank} says that this is one of several processes",
            "Set RANK and WORLD_SIZE for each process, MASTER_ADDR and MASTER_PORT for all; or unset PMIX_RANK for a "
            "training of one process.",
        )


def _number(name: str, value: str | None, given: dict[str, str]) -> int:
    if value is not None and value.isdecimal():
        return int(value)
    others = ", ".join(f"{other}={value}" for other, value in given.items() if other != name)
    raise ConvsmithError(
        f"{name} is not set" if value is None else f"{name} is `{value}`, not a number",
        f"{others or 'it'} says that this is one of several processes",
        f"Set {name} for each process, or for a training of one process unset {', '.join(given)}.",
    )


def _of_sagemaker() -> World | None:
    hosts, own = _hosts_of_sagemaker(), os.environ.get("SM_CURRENT_HOST")
    if len(hosts) < 2:
        return None
    if own not in hosts:
        raise ConvsmithError(
            f"SM_CURRENT_HOST is `{own or ''}`",
            f"SM_HOSTS names {', '.join(hosts)}",
            "Set it to the name of this host.",
        )
    return World(hosts.index(own), len(hosts), placed=False)


def _of_tensorflow() -> World | None:
    workers, kind, index = _tensorflow()
    if sum(map(len, workers.values())) < 2:
        return None
    if kind not in workers or not 0 <= index < len(workers[kind]):
        raise ConvsmithError(
            f"TF_CONFIG says that this process is {kind} {index}",
            f"those that train are {', '.join(f'{len(them)} of {name}' for name, them in workers.items())}",
            "Start convsmith in those only, or unset TF_CONFIG for a training of one process.",
        )
    before = sum(len(them) for name, them in workers.items() if _TRAINING.index(name) < _TRAINING.index(kind))
    return World(before + index, sum(map(len, workers.values())), placed=False)


_TRAINING = ("chief", "master", "worker")  # kinds of processes in TF_CONFIG, those that lead first


def _tensorflow() -> tuple[dict[str, list[str]], str, int]:
    """The addresses of those that train by TF_CONFIG, and which of them this process is."""
    try:
        told = json.loads(os.environ.get("TF_CONFIG") or "{}")
        task, cluster = told.get("task") or {}, told.get("cluster") or {}
        workers = {name: [*map(str, cluster[name])] for name in _TRAINING if cluster.get(name)}
        return workers, str(task.get("type")), int(task.get("index", 0))
    except (ValueError, TypeError, AttributeError) as error:
        raise ConvsmithError(
            "TF_CONFIG is not JSON with a `cluster` and a `task`", str(error), "Set it as launchers do, or unset it."
        ) from error


def _first_of_those_listed() -> str:
    """HOST:PORT of the first process where a launcher lists them all."""
    paddle = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")[0].strip()
    return paddle or next((them[0] for them in _tensorflow()[0].values()), "")


def _hosts_of_sagemaker() -> list[str]:
    try:
        hosts = json.loads(os.environ.get("SM_HOSTS", "[]"))
    except ValueError:
        hosts = None
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise ConvsmithError("SM_HOSTS is not a list of host names", fix="Set it as SageMaker does, or unset it.")
    return sorted(hosts)
