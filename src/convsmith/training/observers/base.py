"""What a run tells those who watch it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Record:
    """Figures of one moment: a line of metrics.jsonl.

    Attributes:
        step: optimizer steps done.
        epoch: epochs done.
        split: which images the figures are of.
        values: name to figure.
    """

    step: int
    epoch: int
    split: Literal["train", "val"]
    values: dict[str, float]


class Observer:
    """Does nothing; an observer overrides what it cares for. None of this may change the run."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` images of a phase (`check`, `train`, `evaluate`) are through; called after each batch."""

    def metrics(self, record: Record) -> None:
        """There are new figures."""

    def close(self) -> None:
        """The run has ended, for whatever reason."""
