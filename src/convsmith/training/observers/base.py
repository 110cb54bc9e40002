"""Observers of a run, and the records that they get."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from convsmith.data.dataset import DataSet
    from convsmith.data.loading.loader import Batch
    from convsmith.training.run import Run


RecordSplit = Literal["steps", "train", "val"]


@dataclass(frozen=True)
class Record:
    """Figures of one moment: a line of metrics.jsonl.

    Attributes:
        step: optimizer steps done.
        epoch: epochs done.
        split: what the figures are of: `train` and `val` images at the end of an epoch; `steps` of one so far.
        values: name to figure.
    """

    step: int
    epoch: int
    split: RecordSplit
    values: dict[str, float]


class Observer:
    """Does nothing; an observer overrides what it cares for. None of this may change the run."""

    def begin(self, run: Run) -> None:
        """The run begins, or goes on: recipe and plan are written down, and metrics.jsonl holds what is done."""

    def data(self, dataset: DataSet) -> None:
        """The data that the run learns from are open; called once, before `begin`."""

    def first_batch(self, images: Tensor) -> None:
        """The first images that the run trains on, augmented but not yet mixed: uint8 [N, C, H, W]."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` images of a phase (`check`, `train`, `evaluate`) are through; called after each batch."""

    def metrics(self, record: Record) -> None:
        """There are new figures."""

    def roll_back(self, step: int, evaluated_step: int) -> None:
        """The run goes on from an earlier step, and what was recorded after it does not count; see `JsonLines`."""

    def end(self, run: Run) -> None:
        """The run is complete, its bundle too."""

    def close(self) -> None:
        """Nothing more comes, for whatever reason."""


def showing_first(batches: Iterable[Batch], observers: Sequence[Observer]) -> Iterator[Batch]:
    """The same batches; the observers see the images of the first, if any could be read."""
    for i, batch in enumerate(batches):
        if i == 0 and len(batch.images):
            for observer in observers:
                observer.first_batch(batch.images)
        yield batch
