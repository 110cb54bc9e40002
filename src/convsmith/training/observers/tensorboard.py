"""Curves for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from convsmith.training.observers.base import Observer, Record


class TensorBoard(Observer):
    """Writes event files.

    Args:
        folder: where event files go.
        step: the step that the run goes on from; TensorBoard hides what an earlier try wrote after it.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def metrics(self, record: Record) -> None:
        """Write each value as the scalar SPLIT/NAME."""
        for name, value in record.values.items():
            self._writer.add_scalar(f"{record.split}/{name}", value, record.step)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()
