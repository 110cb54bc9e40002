"""Detection of trainings whose loss is no longer finite, with the layer where that began, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.devices import ACCELERATORS
from convsmith.errors import ConvsmithError

STEPS = 5
"""Steps in a row without a finite loss that end a training."""

FACTOR = 0.5
"""The factor of the learning rate when a training goes back to a checkpoint."""

LOWEST = FACTOR**5
"""The factor below which going back again is in vain."""


_STEADIER = "Lower optimizer.lr, lengthen schedule.warmup_epochs, set clip_grad_norm=1, or set precision=fp32"
_KEPT = "The checkpoints from before are kept."


class Diverged(ConvsmithError):
    """The training's loss, or what it answers to validation images, is not a finite number.

    Args:
        what: is not finite, and when.
        layer: the first that gives such values, if it is known.
        sound_until: the step up to which checkpoints can be trusted; None: all of them.
    """

    def __init__(self, what: str, layer: str | None = None, sound_until: int | None = None) -> None:
        where = f"; the first layer with values that are not finite is `{layer}`" if layer else ""
        super().__init__(
            what,
            f"the training diverged{where}",
            f"{_STEADIER}; or set on_divergence=rollback to go on from the last checkpoint with half the learning "
            f"rate. {_KEPT}",
        )
        self.sound_until = sound_until

    def give_up(self) -> None:
        """Take back the advice to go back to a checkpoint: that was in vain."""
        self.fix = f"{_STEADIER}. {_KEPT}"


class LossWatch:
    """Counts the steps in a row whose loss is not finite, and finds the layer where that began.

    Args:
        model: its layers have the names.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._unread: tuple[Tensor, Any] | None = None
        self._bad = False
        self.steps = 0
        self.layer: str | None = None

    def look(self, loss: Tensor, again: Callable[[], object] | None) -> None:
        """Look at the loss of one pass of a step.

        On a GPU it is that of the pass before: to wait for the newest would leave the GPU without work. The weights
        have moved since, so no layer is looked for.

        Args:
            loss: a scalar.
            again: does the same forward pass once more; None if this process cannot do that alone.
        """
        if ACCELERATORS[loss.device.type].queues:
            if self._unread is not None:
                is_finite, there = self._unread
                there.synchronize()
                self._bad |= not bool(is_finite)
            # Read with the next pass, which is queued behind it by then; `bool` of a loss would wait for all that is.
            event = torch.get_device_module(loss.device).Event()
            self._unread = torch.empty((), dtype=torch.bool, pin_memory=True), event
            self._unread[0].copy_(loss.isfinite(), non_blocking=True)
            self._unread[1].record()
        elif not bool(loss.isfinite()):
            self._bad = True
            if self.layer is None and again is not None:
                self.layer = first_non_finite(self._model, again)

    def end_step(self) -> None:
        """Count a step; a good one ends the row."""
        self.steps = self.steps + 1 if self._bad else 0
        self._bad = False
        if not self.steps:
            self.layer = None


@torch.no_grad()
def first_non_finite(model: nn.Module, forward: Callable[[], object]) -> str | None:
    """The first layer, in order of computation, that gives values that are not finite; None if all are.

    Args:
        model: what the layer is of.
        forward: computes with it.
    """
    found: list[str] = []

    def watch(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def look(_layer: nn.Module, _inputs: object, output: object) -> None:
            if not found and isinstance(output, Tensor) and not bool(output.isfinite().all()):
                found.append(name)

        return layer.register_forward_hook(look)

    hooks = [watch(name, layer) for name, layer in model.named_modules() if not any(layer.children())]
    buffers = [buffer.clone() for buffer in model.buffers()]
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)
    return found[0] if found else None
