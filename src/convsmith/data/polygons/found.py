"""Where files of annotations lie, and which part of the data each is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from convsmith.data.polygons.outlines import PARTS, Part


@dataclass(frozen=True)
class Found:
    """Files of annotations of one format.

    Attributes:
        path: what was looked at.
        root: the folder that the paths of images are relative to.
        files: each with the part that its images are of.
    """

    path: Path
    root: Path
    files: tuple[tuple[Path, Part], ...]


def part_of(name: str) -> Part:
    """The part that a name such as `instances_val2017` or `Train` says; empty where it says none, or several."""
    said = {PARTS[word] for word in re.findall("[a-z]+", name.lower()) if word in PARTS}
    return said.pop() if len(said) == 1 else ""
