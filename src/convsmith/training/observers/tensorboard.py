"""Curves and images for TensorBoard."""

from __future__ import annotations

import logging
import os
import socket
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from convsmith.training.observers.base import Observer, Record

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

    from convsmith.training.run import Run

logger = logging.getLogger(__name__)

MAX_IMAGES = 64
_NUMBERS = count(1)  # of all files that this process opens, be it for one run after another


class TensorBoard(Observer):
    """Writes event files. One that cannot be written is a warning, and the training goes on without.

    TensorBoard's own writer has a thread that prints a traceback of its own when the disk is full.

    Args:
        folder: where event files go.
        step: the step that the run goes on from; TensorBoard hides what an earlier try wrote after it.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        self._writer: Any = None
        self._open(step)

    def _open(self, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS)}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._writer = RecordWriter((self._folder / name).open("xb"))
        except OSError as error:
            self._give_up(error)
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=step + 1 if step else 0, session_log=SessionLog(status=SessionLog.START)))

    def roll_back(self, step: int, evaluated_step: int) -> None:  # noqa: ARG002 - it hides whole steps only
        """Begin another event file, which hides what came after the step."""
        if self._writer is not None:
            self.close()
            self._open(step)

    def first_batch(self, images: Tensor) -> None:
        """Write up to 64 of the images, eight in a row, as the image train/first_batch."""
        from torch.utils.tensorboard.summary import image

        shown = images[:MAX_IMAGES, : 3 if images.shape[1] > 2 else 1]  # channels that people see
        self._write_summary(image("train/first_batch", shown, dataformats="NCHW"), 0)  # type: ignore[no-untyped-call]

    def metrics(self, record: Record) -> None:
        """Write each value as the scalar SPLIT/NAME."""
        from torch.utils.tensorboard.summary import scalar

        for name, value in record.values.items():
            self._write_summary(scalar(f"{record.split}/{name}", value), record.step)  # type: ignore[no-untyped-call]

    def end(self, run: Run) -> None:
        """Write the run's pictures as the images pictures/NAME, at its last step."""
        import numpy as np
        from PIL import Image
        from torch.utils.tensorboard.summary import image

        step = run.metrics[-1]["step"] if run.metrics else 0
        for file in sorted(run.pictures.glob("*.png")):
            with Image.open(file) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            self._write_summary(image(f"pictures/{file.stem}", pixels, dataformats="HWC"), step)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close the event file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except OSError as error:
                self._give_up(error)

    def _write_summary(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(Event(summary=summary, step=step))

    def _write(self, event: Event) -> None:
        if self._writer is None:
            return
        event.wall_time = time.time()
        try:
            self._writer.write(event.SerializeToString())
            self._writer.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._writer = None
        reason = error.strerror or error
        logger.warning("%s cannot be written (%s): the training goes on without TensorBoard", self._folder, reason)
