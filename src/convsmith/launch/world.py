"""Which of how many processes this one is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

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
        sharded: each keeps only its share of the model, and all write checkpoints together.
        timeout: how long one waits for the others before that is an error.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    sharded: bool = False
    timeout: timedelta = TIMEOUT

    @classmethod
    def of_environment(cls) -> World:
        """What torchrun (`RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`) tells the processes that it starts."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        if not all(name in os.environ for name in names):
            return cls()
        rank, size, local_rank, local_size = (int(os.environ[name]) for name in names)
        return cls(rank, size, local_rank, local_size)

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes files, shares of checkpoints apart, and talks to the user."""
        return self.rank == 0

    @property
    def grid(self) -> tuple[int, int]:
        """Machines, and processes of each; where these differ, all count as those of one machine."""
        nodes, rest = divmod(self.size, self.local_size)
        return (1, self.size) if rest else (nodes, self.local_size)
