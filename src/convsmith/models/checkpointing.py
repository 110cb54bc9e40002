"""Gradient checkpointing: activations are computed twice instead of being kept (Chen et al. 2016, arXiv:1604.06174)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Recomputing(nn.Module):
    """Has blocks that can be computed again in the backward pass."""

    recompute = False
    """In training, keep only the input of each block."""

    def through(self, block: nn.Module, x: Any) -> Any:
        """Apply `block` to `x`."""
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            return block(x)
        if torch.compiler.is_compiling():  # which makes the second run a graph without side effects
            return checkpoint(block, x, use_reentrant=False)
        return checkpoint(block, x, use_reentrant=False, context_fn=partial(_contexts, block))


class Blocks(nn.Sequential, Recomputing):
    """Blocks one after another."""

    def forward(self, x: Any) -> Any:
        """Apply all blocks, one after another."""
        for block in self:
            x = self.through(block, x)
        return x


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Let a second run over the same batch leave the running statistics as the first one made them."""
    norms = [module for module in block.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, batches in before:
            norm.momentum, norm.num_batches_tracked = momentum, batches
