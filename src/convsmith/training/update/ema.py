"""Exponential moving average of the weights."""

from __future__ import annotations

import copy
from functools import cached_property

import torch
from torch import Tensor, nn

from convsmith.recipe import optimization
from convsmith.recipe.epochs import Epochs
from convsmith.recipe.schedules import warmup_steps
from convsmith.recipe.schema import Recipe
from convsmith.training.parallel.shares import kept


class Ema:
    """A copy of the model that follows it: after an update, ema = d * ema + (1 - d) * model.

    Float buffers (BatchNorm's statistics) are averaged as well. Integer buffers are copied, as in timm's ModelEmaV3;
    torchvision and timm's older forms truncate their average, which no result depends on.

    Args:
        model: the trained model, whose values the average starts from.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._followed = model

    @cached_property
    def _pairs(self) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
        """Average and value, of floats and of integers. Found late: a model that is shared out gets new tensors."""
        averages, values = (map(kept, it.state_dict().values()) for it in (self.model, self._followed))
        pairs = list(zip(averages, values, strict=True))
        return [it for it in pairs if it[0].is_floating_point()], [it for it in pairs if not it[0].is_floating_point()]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Take in the model's present weights; `decay` is d, and 0 copies them."""
        floats, integers = self._pairs
        averages, values = map(list, zip(*floats, strict=True))
        torch._foreach_lerp_(averages, values, 1 - decay)
        for average, value in integers:
            average.copy_(value)


def decay_after(recipe: Recipe, epochs: Epochs, step: int) -> float | None:
    """d of the update after optimizer step `step`, counted from 0 over all epochs; None where there is no update.

    A function of the step alone, so a resumed run needs no counter. With `copy_in_warmup` an update copies as long as
    the one before it was made in the warmup of the learning rate, and so does the very first one: torchvision sets
    its count of updates back to 0 after each update of the warmup.
    """
    ema = recipe.ema
    assert ema is not None
    epoch, index = epochs.at(step)
    if index % ema.every_steps:
        return None
    if ema.copy_in_warmup:
        # the step of the update before: the last of the epoch before, where this one is the first of its own
        before = step - ema.every_steps if index else step - 1 - (epochs.length(epoch - 1) - 1) % ema.every_steps
        if before < warmup_steps(recipe.schedule, epochs.steps):
            return 0.0
    updates = Epochs(-(-epochs.steps // ema.every_steps), epochs.extra_from, -(-epochs.extra_steps // ema.every_steps))
    earlier = updates.total_steps(epoch) + index // ema.every_steps
    return min(_full_decay(recipe, ema), _young_decay(ema, earlier))


def _full_decay(recipe: Recipe, ema: optimization.EmaRule) -> float:
    """d once the average is no longer young."""
    if not ema.scale_to_epochs:
        return ema.decay
    return 1 - min(1.0, (1 - ema.decay) * (recipe.batch.size * ema.every_steps / recipe.schedule.epochs))


def _young_decay(ema: optimization.EmaRule, earlier: int) -> float:
    """The most that d may be after so many earlier updates."""
    if ema.warmup == "count":
        return (1 + earlier) / (10 + earlier)
    if ema.warmup == "power":
        return float(1 - (1 + earlier / ema.gamma) ** -ema.power)
    return 1.0
