"""The order of the samples: a function of (seed, epoch), so a run goes on from any step without a saved state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from convsmith.randomness import Stream, counter_seed


class Position(NamedTuple):
    """One sample of the stream: the `position`-th of epoch `epoch` is file `index`. Position names its augmentation."""

    epoch: int
    position: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls here


def epoch_order(num_samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The permutation of 0 to N - 1 that epoch `epoch` goes through, int64 `[N]`.

    numpy promises that the stream of its legacy generator never changes, so an order is the same in all versions.
    """
    number = counter_seed(Stream.ORDER, seed, epoch)
    generator = np.random.RandomState([number & 0xFFFFFFFF, number >> 32])
    return generator.permutation(num_samples).astype(np.int64, copy=False)


class StepSampler(Sampler[list[Position]]):
    """The micro-batches of one rank, one after another, from `first_step` to `last_step`, across epochs.

    Step s takes the `effective_batch` positions from `(s % steps_per_epoch) * effective_batch` of epoch
    `s // steps_per_epoch`. Of those, micro-batch m of rank r is the `(m * world_size + r)`-th run of
    `per_device_batch`: all ranks together see, in order, what one rank would see alone. Positions from
    `num_samples` on wrap around to the start of the epoch's order.

    Args:
        num_samples: files in the training index.
        seed: the recipe's seed.
        effective_batch: samples per optimizer step, a multiple of `per_device_batch * world_size`.
        per_device_batch: samples per forward pass.
        steps_per_epoch: optimizer steps per epoch.
        first_step: the step to start with, counted from 0 over all epochs.
        last_step: the step to stop before.
        rank: this process, 0 to `world_size` - 1.
        world_size: number of processes.
    """

    def __init__(
        self,
        num_samples: int,
        seed: int,
        effective_batch: int,
        per_device_batch: int,
        steps_per_epoch: int,
        first_step: int,
        last_step: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if num_samples < 1 or steps_per_epoch < 1 or per_device_batch < 1:
            raise ValueError("num_samples, steps_per_epoch and per_device_batch must be at least 1")
        if effective_batch < 1 or effective_batch % (per_device_batch * world_size):
            raise ValueError(f"effective_batch {effective_batch} is no multiple of {per_device_batch} x {world_size}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}")
        if not 0 <= first_step <= last_step:
            raise ValueError(f"steps from {first_step} to {last_step}")
        self.num_samples, self.seed = num_samples, seed
        self.effective_batch, self.per_device_batch = effective_batch, per_device_batch
        self.steps_per_epoch, self.first_step, self.last_step = steps_per_epoch, first_step, last_step
        self.rank, self.world_size = rank, world_size
        self.accumulation = effective_batch // (per_device_batch * world_size)

    def __len__(self) -> int:
        """Micro-batches of this rank."""
        return (self.last_step - self.first_step) * self.accumulation

    def __iter__(self) -> Iterator[list[Position]]:
        epoch, order = -1, np.empty(0, np.int64)
        for step in range(self.first_step, self.last_step):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = epoch_order(self.num_samples, self.seed, epoch)
            first_of_step = step % self.steps_per_epoch * self.effective_batch
            for micro_batch in range(self.accumulation):
                first = first_of_step + (micro_batch * self.world_size + self.rank) * self.per_device_batch
                positions = range(first, first + self.per_device_batch)
                indices = order.take(positions, mode="wrap").tolist()
                yield [Position(epoch, *pair) for pair in zip(positions, indices, strict=True)]
