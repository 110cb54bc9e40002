"""What the trainer asks of a task; it knows none by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
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

    def start(self, device: torch.device, class_counts: Sequence[int]) -> None:
        """Load what training needs besides the model; called once before the first step.

        Args:
            device: where the training runs.
            class_counts: training images of each class.
        """

    def training_loss(self, model: nn.Module, images: Tensor, targets: Tensor, epoch: int) -> Tensor:
        """The scalar loss of a batch; random numbers come from torch's CPU generator, which the trainer has seeded.

        Args:
            model: maps images to outputs; it is called once.
            images: normalised floats [N, C, H, W].
            targets: what the loader gave.
            epoch: of the run, from 0.
        """

    def new_results(self) -> Results:
        """An empty collection for one evaluation."""
