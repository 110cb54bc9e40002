"""Changes of the model by a recipe, besides its weights: once before training, and at the start of each epoch."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import nn

from convsmith.errors import ConvsmithError
from convsmith.models.base import VisionModel
from convsmith.models.layers import DropBlock, DropPath
from convsmith.recipe.optimization import Freeze, Ramp
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe
from convsmith.training.update.groups import check_patterns, named_by

logger = logging.getLogger(__name__)

_BatchNorm = nn.modules.batchnorm._BatchNorm


def prepare(model: VisionModel, recipe: Recipe) -> None:
    """Change in `model` what the recipe says for the whole run: BatchNorm, gradient checkpointing, freezing for good.

    Raises:
        ConvsmithError: there is nothing to freeze under a name, nothing is left to learn, or a ramp has no layers.
    """
    wanted = recipe.model
    for key, ramp, kind in (("drop_path", wanted.drop_path, DropPath), ("drop_block", wanted.drop_block, DropBlock)):
        if ramp is not None and not any(isinstance(module, kind) for module in model.modules()):
            raise ConvsmithError(
                f"model `{wanted.name}` has no {kind.__name__}", f"model.{key} cannot ramp it", "Set it to null."
            )
    if wanted.batch_norm_momentum is not None:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = wanted.batch_norm_momentum
    if wanted.gradient_checkpointing:
        model.gradient_checkpointing()
    if recipe.freeze is not None:
        is_frozen = _frozen_names(model, recipe.freeze)
        if recipe.freeze.epochs is None:
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(not is_frozen(name))


def synchronise_batch_norm(model: VisionModel, device: torch.device) -> VisionModel:
    """The model with BatchNorms that see the batches of all processes; torch has them for GPUs only."""
    if torch.distributed.is_initialized() and device.type != "cpu":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-any-return,no-untyped-call]
    logger.info("BatchNorm is not synchronised: there are no other GPUs to do that with")
    return model


class EachEpoch:
    """Puts the model into the state of an epoch: training mode, what is frozen, probabilities to drop.

    All of it is a function of the epoch, so a resumed run goes on as it was.

    Args:
        model: a prepared model, whose DropPaths have the probabilities of the ramp's highest value.
        recipe: what to train.
        plan: gives the number of epochs.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, plan: Plan) -> None:
        self._model, self._freeze, self._epochs = model, recipe.freeze, plan.total_epochs
        self._drop_path, self._drop_block = recipe.model.drop_path, recipe.model.drop_block
        peak = highest(self._drop_path) if self._drop_path else 0.0
        self._paths = [(m, m.drop_prob / peak if peak else 0.0) for m in model.modules() if isinstance(m, DropPath)]
        self._blocks = [m for m in model.modules() if isinstance(m, DropBlock)]
        is_frozen = _frozen_names(model, self._freeze) if self._freeze else _nothing
        self._frozen = [parameter for name, parameter in model.named_parameters() if is_frozen(name)]
        # a BatchNorm is frozen with its weight, whether it has one or not
        self._frozen_norms = [
            m for name, m in model.named_modules() if isinstance(m, _BatchNorm) and is_frozen(f"{name}.weight")
        ]

    def begin(self, epoch: int) -> None:
        """Set up epoch `epoch`, counted from 0."""
        self._model.train()
        if self._drop_path:
            value = ramp_value(self._drop_path, epoch, self._epochs)
            for path, share in self._paths:
                path.drop_prob = value * share
        if self._drop_block:
            for block in self._blocks:
                block.drop_prob = ramp_value(self._drop_block, epoch, self._epochs)
        if self._freeze:
            freeze_now = self._freeze.epochs is None or epoch < self._freeze.epochs
            for parameter in self._frozen:
                parameter.requires_grad_(not freeze_now)
            for norm in self._frozen_norms:
                norm.train(not freeze_now)


def ramp_value(ramp: Ramp, epoch: int, epochs: int) -> float:
    """The value in epoch `epoch` of `epochs`: already a part of the way in the first, `end` in the last.

    That is DropBlockScheduler of ResNeSt's resnest/gluon/dropblock.py.
    """
    return ramp.start + (ramp.end - ramp.start) * (epoch + 1) / epochs


def highest(ramp: Ramp) -> float:
    """The highest value that the ramp may take."""
    return max(ramp.start, ramp.end)


def _frozen_names(model: nn.Module, freeze: Freeze) -> Callable[[str], bool]:
    """Whether a parameter's name is one of those that do not learn.

    Raises:
        ConvsmithError: a pattern fits no parameter, or all are frozen.
    """
    names = [name for name, _ in model.named_parameters()]
    patterns = (freeze.names,) if isinstance(freeze.names, str) else freeze.names
    check_patterns("freeze.names", patterns, model)
    fits = [named_by(pattern, model) for pattern in patterns]

    def is_frozen(name: str) -> bool:
        return any(is_named(name) for is_named in fits)

    if all(map(is_frozen, names)):
        raise ConvsmithError("freeze.names freezes every parameter", "nothing is left to learn", "Leave some out.")
    return is_frozen


def _nothing(_name: str) -> bool:
    return False
