"""Checkpoints that are written while the training goes on."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from convsmith.errors import ConvsmithError, of_system
from convsmith.training.checkpoints.checkpoint import save_checkpoint, tidy


class CheckpointWriter:
    """Writes one checkpoint at a time in a thread of its own; the training waits only while tensors are copied.

    The thread computes nothing with torch: one parallel operation gives it compute threads of its own, which then take
    the cores from those of the training for as long as it lives.

    Args:
        folder: the run's checkpoint folder.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._step = 0

    def save(
        self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], best_step: int | None
    ) -> None:
        """Begin to write what is given, as it is now; waits for a checkpoint that is still being written.

        Raises:
            ConvsmithError: the checkpoint before could not be written.
        """
        self.wait()
        copies = {
            name: {
                key: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
                for key, value in values.items()
            }
            for name, values in tensors.items()
        }

        def write() -> None:
            save_checkpoint(self._folder, step, copies, state)
            tidy(self._folder, best_step, self._keep)

        self._begin(step, write)

    def _begin(self, step: int, write: Callable[[], None]) -> None:
        self._step = step
        self._writing = self._thread.submit(self._where_the_run_is, write)

    def _where_the_run_is(self, write: Callable[[], None]) -> None:
        run = self._folder.parent
        if not run.is_dir():  # else one that was renamed would begin anew under its old name
            raise FileNotFoundError(errno.ENOENT, "the run directory was renamed or removed", str(run))
        write()

    def check(self) -> None:
        """Raise a ConvsmithError if a checkpoint turned out not to be writable; waits for nothing."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Return when everything is on the disk.

        Raises:
            ConvsmithError: the checkpoint cannot be written.
        """
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except (OSError, SafetensorError) as error:
            what = f"the checkpoint of step {self._step} cannot be written"
            told = of_system(error, what) if isinstance(error, OSError) else ConvsmithError(what, str(error))
            told.fix = f"Earlier checkpoints are kept. {told.fix} Then the same command goes on from there."
            raise told from error

    def close(self) -> None:
        """Let a write that is under way end, well or not."""
        self._thread.shutdown()
