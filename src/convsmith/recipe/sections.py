"""The sections of a recipe that rules about it read: they are below the recipe, which holds itself to them."""

from __future__ import annotations

from typing import Protocol

from convsmith.recipe.augmentation import Augment
from convsmith.recipe.data import Data
from convsmith.recipe.mixing import Mixing
from convsmith.recipe.objective import Distillation, Loss
from convsmith.recipe.sampling import Sampling
from convsmith.spec import Preprocess, WholeImage


class Sections(Protocol):
    """Keys and sections of a recipe; see `convsmith.recipe.schema.Recipe`."""

    @property
    def task(self) -> str:
        """The name of the task."""

    @property
    def metric(self) -> str:
        """The figure that judges a model."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Further figures that a validation measures."""

    @property
    def data(self) -> Data:
        """Where samples come from."""

    @property
    def augment(self) -> Augment:
        """The augmentation of training images."""

    @property
    def preprocess(self) -> Preprocess | WholeImage:
        """The preprocessing of other images."""

    @property
    def loss(self) -> Loss:
        """The loss."""

    @property
    def sampling(self) -> Sampling:
        """The order and number of training images."""

    @property
    def mixing(self) -> Mixing | None:
        """The mixing of a batch."""

    @property
    def distillation(self) -> Distillation | None:
        """The teacher, and the losses that follow it."""
