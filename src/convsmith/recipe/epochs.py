"""Which epoch a step belongs to: epochs of a second phase may be longer or shorter than those of the first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Epochs:
    """How the optimizer steps of a run divide into epochs; steps and epochs count from 0 over the whole run.

    Attributes:
        steps: optimizer steps in an epoch.
        extra_from: the first epoch that has `extra_steps` instead; None: there is none.
        extra_steps: optimizer steps in an epoch of the second phase.
    """

    steps: int
    extra_from: int | None = None
    extra_steps: int = 0

    def at(self, step: int) -> tuple[int, int]:
        """The epoch of a step, and which step of that epoch it is."""
        if self.extra_from is None or step < self.extra_from * self.steps:
            return divmod(step, self.steps)
        epoch, index = divmod(step - self.extra_from * self.steps, self.extra_steps)
        return self.extra_from + epoch, index

    def length(self, epoch: int) -> int:
        """Steps in an epoch."""
        return self.steps if self.extra_from is None or epoch < self.extra_from else self.extra_steps

    def total_steps(self, epochs: int) -> int:
        """Steps of the first `epochs` epochs."""
        first = epochs if self.extra_from is None else min(epochs, self.extra_from)
        return first * self.steps + (epochs - first) * self.extra_steps
