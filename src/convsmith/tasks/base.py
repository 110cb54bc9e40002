"""The training half of a task: a module of this room that has the functions of `TaskTraining`; nothing else lists it.

It has the name of the task. What the trained models say is in the file of the same name in `convsmith.bundle.tasks`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.bundle.runtime import Infer
from convsmith.data.dataset import DataSet
from convsmith.recipe.schema import Recipe

Objective = Callable[[nn.Module, Tensor, Tensor, int], Tensor]
"""From (model, images, targets, epoch) to the loss of the batch, a scalar in float32.

The model is the one that the objective was made for, or what wraps that (DistributedDataParallel, torch.compile), and
is called once. Images are normalised floats `[N, C, H, W]`, targets what the loader gave; the run's epochs begin at 0.
Random numbers come from torch's CPU generator, which the trainer has seeded.
"""

Model_contra = TypeVar("Model_contra", bound=nn.Module, contravariant=True)


class ValidationResults(Protocol):
    """Gathers how right a model in training is on validation data."""

    def judge(self, infer: Infer, images: Tensor, targets: Tensor) -> None:
        """Let the model answer a batch, at least one uint8 image [N, 3, H, W], and compare."""

    def merge(self, other: Any) -> None:
        """Take in what another collection of the same task gathered; the metrics do not depend on who judged what."""

    def compute(self) -> dict[str, float]:
        """The metrics over all batches, the `loss` where it is measured, and what the recipe's `metrics` name."""

    def by_class(self, num_classes: int) -> dict[str, tuple[float | None, ...]]:
        """Figures of each class by name, `[K]`; None where a class has none."""

    def confusion_matrix(self, num_classes: int) -> NDArray[np.int64]:
        """Counts `[K, K]`: rows are true classes, columns predicted ones."""

    def tuned(self) -> dict[str, Any]:
        """Keys of the bundle that the answers over all batches decide, such as thresholds."""


class TaskTraining(Protocol[Model_contra]):
    """How the models of a task learn and are judged meanwhile; nothing is kept from one call to the next."""

    def check_model(self, recipe: Recipe, model: nn.Module) -> None:
        """Raise a ConvsmithError if the model's outputs are not what the task needs."""

    def loss_bytes(self, recipe: Recipe, model: Model_contra) -> int:
        """Memory that the loss of one image takes in a step, besides what the model keeps; for the plan's estimate."""

    def objective(
        self, recipe: Recipe, model: Model_contra, data: DataSet, used: NDArray[np.int64], device: torch.device
    ) -> Objective:
        """Load what the loss needs besides the model, such as a teacher, and make the loss.

        Args:
            recipe: what to train.
            model: the student itself, before anything wraps it.
            data: what is trained on.
            used: which samples of `data.train` are.
            device: where the training runs.
        """

    def logits(self, model: Model_contra, images: Tensor) -> Tensor:
        """Predict normalised images [N, C, H, W] with a model in eval mode; the exported model says the same."""

    def new_results(self, recipe: Recipe, num_classes: int) -> ValidationResults:
        """An empty collection for one evaluation."""


def with_asked(usual: dict[str, float], every: Mapping[str, float], asked: Sequence[str]) -> dict[str, float]:
    """The figures that a validation always has, and those that are asked for, as far as the images give them."""
    more = {name: every[name] for name in asked if name not in usual}
    return {**usual, **{name: value for name, value in more.items() if math.isfinite(value)}}


def find_training(task: str) -> TaskTraining[Any]:
    """The training half of the task that a recipe names."""
    found: Any = import_module(f"convsmith.tasks.{task}")
    training: TaskTraining[Any] = found
    return training
