"""Curves and images for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from convsmith.training.observers.base import Observer, Record

MAX_IMAGES = 64


class TensorBoard(Observer):
    """Writes event files.

    Args:
        folder: where event files go.
        step: the step that the run goes on from; TensorBoard hides what an earlier try wrote after it.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        self._open(step)

    def _open(self, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=step + 1 if step else 0)

    def gone_back(self, step: int, evaluated_step: int) -> None:  # noqa: ARG002 - it hides whole steps only
        """Begin another event file, which hides what came after the step."""
        self._writer.close()
        self._open(step)

    def first_batch(self, images: Tensor) -> None:
        """Write up to 64 of the images, eight in a row, as the image train/first_batch."""
        self._writer.add_images("train/first_batch", images[:MAX_IMAGES], 0)

    def metrics(self, record: Record) -> None:
        """Write each value as the scalar SPLIT/NAME."""
        for name, value in record.values.items():
            self._writer.add_scalar(f"{record.split}/{name}", value, record.step)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()
