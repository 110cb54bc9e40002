"""How a process that a launcher started tells it why it ended, so that one message reaches the user."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.storage import write_file

FOLDER_VARIABLE = "CONVSMITH_REPORTS"

PEER_LOST = 3
"""Exit code of a process that ended because another one did: never the reason, always a consequence."""

OUT_OF_MEMORY = 4
"""Exit code of a process that had no memory for a step; started again, all take it in smaller passes."""


@dataclass(frozen=True)
class Report:
    """Why a process ended.

    Attributes:
        rank: of the process.
        moment: seconds since the epoch.
        exit_code: what it exits with.
        message: for the user.
    """

    rank: int
    moment: float
    exit_code: int
    message: str

    @property
    def is_final(self) -> bool:
        """Whether starting again would end the same way: the user has to put something right."""
        return self.exit_code not in (PEER_LOST, OUT_OF_MEMORY) and self.exit_code < 128


def report(error: ConvsmithError) -> bool:
    """Leave the error to the launcher, if one is there to show it."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None:
        return False
    rank = World.of_environment().rank
    content = {"rank": rank, "moment": time.time(), "exit_code": error.exit_code, "message": error.on_command_line}
    write_file(Path(folder) / f"{rank}.json", json.dumps(content))
    return True


def reports(folder: Path) -> list[Report]:
    """The errors that were reported, the earliest first."""
    found = [Report(**json.loads(path.read_text())) for path in folder.glob("*.json")]
    return sorted(found, key=lambda given: given.moment)
