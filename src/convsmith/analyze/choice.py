"""A recipe that was chosen for some data, and why; kept in the directory of its run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from convsmith.waiting import read_file

CHOSEN = "chosen.json"


@dataclass(frozen=True)
class Choice:
    """A recipe for some data.

    Attributes:
        recipe: its name.
        overrides: what to change in it, as `key=value` words.
        reasons: one line for each fact and what follows from it.
    """

    recipe: str
    overrides: tuple[str, ...]
    reasons: tuple[str, ...]


def known_choice(out: Path) -> Choice | None:
    """The choice that the run in `out` began with; None where there was none, or it cannot be read any more."""
    try:
        choice = json.loads(read_file(out / CHOSEN))["choice"]
        return Choice(choice["recipe"], tuple(choice["overrides"]), tuple(choice["reasons"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
