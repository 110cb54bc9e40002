"""Trainings seed torch's global generators, which belong to whoever called them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def generators_kept() -> Iterator[None]:
    """Leave torch's global generators, of the CPU and the current GPU, as they were before the block."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        yield
