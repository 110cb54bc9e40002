"""What the trainer asks of a task; it knows none by name."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


class Results(Protocol):
    """Gathers what a model answers on validation data."""

    def update(self, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> None:
        """Take in one batch."""

    def compute(self) -> dict[str, float]:
        """The metrics over all batches."""


class Task(Protocol):
    """A loss to train with and metrics to judge by."""

    metric: str
    """Name of the metric, higher being better, that chooses the best checkpoint."""

    def check_model(self, model: nn.Module) -> None:
        """Raise a ConvsmithError if the model's outputs are not what the task needs."""

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The scalar training loss of a batch."""

    def new_results(self) -> Results:
        """An empty collection for one evaluation."""
