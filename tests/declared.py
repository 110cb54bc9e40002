"""How the dataclasses of a room are declared."""

from __future__ import annotations

import re
from pathlib import Path

import convsmith

_DECORATED = re.compile(r"^@dataclass(?:\((.*)\))?\nclass (\w+)", re.MULTILINE)


def dataclasses_that_are_no_plain_values(room: str) -> dict[str, str]:
    """The options of each dataclass of a folder of the source by name, but for those that say `frozen=True` alone."""
    files = (Path(convsmith.__file__).parent / room).rglob("*.py")
    found = (match.groups() for file in files for match in _DECORATED.finditer(file.read_text("utf-8")))
    return {name: options or "" for options, name in found if options != "frozen=True"}
