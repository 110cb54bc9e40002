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
        the first two; those of mpirun; those of SageMaker; and those of srun where `MASTER_ADDR` is set too, because
        srun may also start trainings that have nothing to do with each other.

        Raises:
            ConvsmithError: they do not say which of how many processes this one is.
        """
        for names in _LAUNCHERS:
            if found := _numbers(names):
                return cls(*found)
        return _of_sagemaker() or cls()

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
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""),
)


def meeting_point(world: World) -> tuple[str, int]:
    """The address and port where the first process of several listens: `MASTER_ADDR` and `MASTER_PORT`.

    Where the launcher says that all are on one machine, it need not name them.

    Raises:
        ConvsmithError: they are not set, or cannot be right.
    """
    address, port = os.environ.get("MASTER_ADDR", "").strip(), os.environ.get("MASTER_PORT", "").strip()
    if not address and world.placed and world.local_size == world.size:
        address = "127.0.0.1"
    job = next(filter(None, map(os.environ.get, ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "SM_HOSTS"))), None)
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

    One of torchrun's that is there alone is an error: somebody wanted more than one process. Other launchers set ranks
    and sizes together.
    """
    given = {name: os.environ[name].strip() for name in names if name in os.environ}
    rank, size, local_rank, local_size = names
    if names != _TORCHRUN and not {rank, size} <= given.keys():
        return None
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


def _hosts_of_sagemaker() -> list[str]:
    try:
        hosts = json.loads(os.environ.get("SM_HOSTS", "[]"))
    except ValueError:
        hosts = None
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise ConvsmithError("SM_HOSTS is not a list of host names", fix="Set it as SageMaker does, or unset it.")
    return sorted(hosts)
