"""Trainings seed torch's global generators, which belong to whoever called them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from convsmith.training.precision import pick_device


@contextmanager
def generators_kept() -> Iterator[None]:
    """Leave torch's global generators, of the CPU and the current GPU, as they were before the block."""
    device = pick_device()
    with torch.random.fork_rng([] if device.type == "cpu" else [device.index or 0], device_type=device.type):
        yield
