"""Exponential moving average of the weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from convsmith.recipe import optimization


class Ema:
    """A copy of the model that follows it: after update n, ema = d * ema + (1 - d) * model.

    d is the recipe's decay, with `warmup` at most (1 + n) / (10 + n). Float buffers (BatchNorm's statistics) are
    averaged as well; integer buffers are copied.

    Args:
        model: the trained model, whose values the average starts from.
        recipe: decay and warmup.
    """

    def __init__(self, model: nn.Module, recipe: optimization.Ema) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._recipe = recipe
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        self._floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._integers = [pair for pair in pairs if not pair[0].is_floating_point()]

    def decay(self, updates: int) -> float:
        """The decay d of the update that follows `updates` earlier ones."""
        limit = (1 + updates) / (10 + updates) if self._recipe.warmup else 1.0
        return min(self._recipe.decay, limit)

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Take in the model's present weights; `updates` earlier updates were made."""
        averages, values = map(list, zip(*self._floats, strict=True))
        torch._foreach_lerp_(averages, values, 1 - self.decay(updates))
        for average, value in self._integers:
            average.copy_(value)
