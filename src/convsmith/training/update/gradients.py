"""How large gradients are, and the bound that a recipe sets them."""

from __future__ import annotations

import torch
from torch import nn

from convsmith.training.parallel.shares import total_norm
from convsmith.training.precision import sum_dtype

EVERY = 16
"""Steps from one measurement to the next: it takes a pass over all gradients, which clipping makes in each step."""


class GradientNorm:
    """Measures the norm of all gradients together in some of an epoch's steps, and clips them in all, if at all.

    Args:
        clip: what the norm may be; None does not clip.
        total: the norms of this epoch's steps so far.
        device: of the gradients; the sum stays there, since reading it in each step would make the loop wait.
    """

    def __init__(self, clip: float | None, total: float, device: torch.device) -> None:
        self._clip = clip
        self._every = EVERY if clip is None else 1
        self._total = torch.tensor(total, dtype=sum_dtype(device), device=device)

    def measure(
        self, model: nn.Module, step_of_epoch: int, scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer
    ) -> None:
        """Look at the gradients between the backward pass and the optimizer's step."""
        if step_of_epoch % self._every:
            return
        scaler.unscale_(optimizer)
        learning = [it for it in model.parameters() if it.grad is not None]
        norm = total_norm([it.grad for it in learning if it.grad is not None])
        self._total += norm.nan_to_num(0, 0, 0)  # of a step that loss scaling skips
        if self._clip is not None:
            nn.utils.clip_grads_with_norm_(learning, self._clip, norm)

    @property
    def total(self) -> float:
        """The sum over the steps that were measured; reading it waits for the device."""
        return float(self._total)

    def mean(self, steps: int) -> float:
        """Over the first `steps` steps of an epoch, of those that were measured."""
        return self.total / -(-steps // self._every)

    def begin_epoch(self) -> None:
        """Forget the steps before."""
        self._total.zero_()
