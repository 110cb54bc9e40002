"""What the trainer asks of a task; it knows none by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.data.dataset import DataSet

Run = Callable[[Tensor], NDArray[np.float32]]
"""From uint8 images [N, 3, H, W] to logits: a model in eval mode, as it is exported."""


class Results(Protocol):
    """Gathers how right a model is on validation data."""

    def judge(self, run: Run, images: Tensor, targets: Tensor) -> None:
        """Let the model answer a batch, at least one image, and compare."""

    def merge(self, other: Any) -> None:
        """Take in what another collection of the same task gathered; the metrics do not depend on who judged what."""

    def compute(self) -> dict[str, float]:
        """The metrics over all batches, and the `loss` where it is measured."""


class Task(Protocol):
    """A loss to train with and metrics to judge by."""

    metric: str
    """Name of the metric that chooses the best checkpoint, see `is_better`."""

    one_size: bool
    """Whether all validation images have one size, so that several make a batch."""

    def check_model(self, model: nn.Module) -> None:
        """Raise a ConvsmithError if the model's outputs are not what the task needs."""

    def loss_bytes(self, model: nn.Module) -> int:
        """Memory that the loss of one image takes in a step, besides what the model keeps; for the plan's estimate."""

    def start(self, device: torch.device, data: DataSet, used: NDArray[np.int64]) -> None:
        """Load what training needs besides the model; called once before the first step.

        Args:
            device: where the training runs.
            data: what is trained on.
            used: which of `data.train` are.
        """

    def training_loss(self, model: nn.Module, images: Tensor, targets: Tensor, epoch: int) -> Tensor:
        """The scalar loss of a batch; random numbers come from torch's CPU generator, which the trainer has seeded.

        Args:
            model: maps images to outputs; it is called once.
            images: normalised floats [N, C, H, W].
            targets: what the loader gave.
            epoch: of the run, from 0.
        """

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """What a model in eval mode predicts for normalised images [N, C, H, W]; the exported model says the same."""

    def new_results(self, data: DataSet) -> Results:
        """An empty collection for one evaluation on `data.val`."""
