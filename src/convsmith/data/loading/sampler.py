"""The order of the samples: a function of (seed, epoch), so a run goes on from any step without a saved state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from convsmith.randomness import Stream, counter_generator
from convsmith.recipe.make_plan import samples_per_epoch
from convsmith.recipe.rarity import rarity
from convsmith.recipe.sampling import Balanced, RepeatedAugmentation, Sampling, Weighted

Indices = NDArray[np.int64]


class Position(NamedTuple):
    """One sample of the stream: the `position`-th of epoch `epoch` is file `index`. Position names its augmentation."""

    epoch: int
    position: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which is not called here


class Windows(NamedTuple):
    """How samples that lie together in archives are shuffled, so that large parts are read one after another.

    Attributes:
        shards: the number of the archive of each sample, int32 `[N]`.
        size: samples that are shuffled among each other.
    """

    shards: NDArray[np.int32]
    size: int


def used_samples(sampling: Sampling, targets: Indices, seed: int) -> Indices:
    """The `samples_per_epoch` files that a training uses, in ascending order: of each class its share, to a file.

    Args:
        sampling: gives the share.
        targets: the class of each file, int64 `[N]`.
        seed: the recipe's.
    """
    total, used = len(targets), samples_per_epoch(sampling, len(targets))
    if used == total:
        return np.arange(total)
    shuffled = counter_generator(Stream.SUBSET, seed).permutation(total)
    by_class = shuffled[np.argsort(targets[shuffled], kind="stable")]
    return np.sort(by_class[np.arange(used) * total // used])  # evenly spaced, so each class gives its share


def epoch_samples(
    sampling: Sampling,
    targets: Indices,
    seed: int,
    epoch: int,
    windows: Windows | None = None,
    *,
    weights: NDArray[np.float64] | None = None,
) -> Indices:
    """The samples of epoch `epoch` in their order, int64 `[N]`, as numbers from 0 to N - 1.

    Args:
        sampling: its kind; its share is for `used_samples`.
        targets: the class of each of the N samples.
        seed: the recipe's.
        epoch: counted from 0.
        windows: see `epoch_order`; for those that are drawn with replacement they mean nothing.
        weights: what `Weighted` draws in proportion to, float64 `[N]`, not all 0.
    """
    total = len(targets)
    if isinstance(sampling, Weighted):
        assert weights is not None
        ends = np.cumsum(weights)
        points = counter_generator(Stream.ORDER, seed, epoch).random_sample(total) * ends[-1]
        picked: Indices = np.searchsorted(ends, points, side="right")
        return picked
    if isinstance(sampling, Balanced):
        generator, sizes = counter_generator(Stream.ORDER, seed, epoch), np.bincount(targets)
        upper = np.cumsum(class_shares(sampling, sizes))
        classes = np.searchsorted(upper, generator.random_sample(total) * upper[-1], side="right")
        places = (generator.random_sample(total) * sizes[classes]).astype(np.int64)  # in its class
        drawn: Indices = np.argsort(targets, kind="stable")[np.cumsum(sizes)[classes] - sizes[classes] + places]
        return drawn
    order = epoch_order(total, seed, epoch, windows)
    return np.repeat(order, sampling.repetitions)[:total] if isinstance(sampling, RepeatedAugmentation) else order


def class_shares(sampling: Balanced, sizes: Indices) -> NDArray[np.float64]:
    """Weights that the probabilities of classes are in proportion to, float64 `[C]`; 0 for a class without images.

    Args:
        sampling: how an image is weighted by the size of its class.
        sizes: images of each class, int64 `[C]`.
    """
    return sizes * rarity(sampling.weights, sizes, sampling.beta)


def epoch_order(num_samples: int, seed: int, epoch: int, windows: Windows | None = None) -> Indices:
    """The permutation of 0 to N - 1 that epoch `epoch` goes through, int64 `[N]`.

    With windows the archives are shuffled, their samples put one after another as they lie, and each `size` of these
    shuffled.
    """
    generator = counter_generator(Stream.ORDER, seed, epoch)
    if windows is None:
        return generator.permutation(num_samples).astype(np.int64, copy=False)
    ranks = generator.permutation(int(windows.shards.max(initial=0)) + 1)
    order = np.argsort(ranks[windows.shards], kind="stable")
    for first in range(0, num_samples, windows.size):
        generator.shuffle(order[first : first + windows.size])
    return order


class StepSampler(Sampler[list[Position]]):
    """The micro-batches of one rank, one after another, from `first_step` to `last_step`, across epochs.

    Step s takes the `effective_batch` positions from `(s % steps_per_epoch) * effective_batch` of epoch
    `first_epoch + s // steps_per_epoch`. Among those, micro-batch m of rank r takes every
    `(world_size * accumulation)`-th, from `m * world_size + r` on: all ranks together
    see what one rank would see alone, and the copies of repeated augmentation, which follow each other, come into
    different micro-batches as in torchvision's RASampler. Positions from the epoch's last sample on wrap around to its
    first.

    torchvision's RASampler ends an epoch at a multiple of 256 samples, and has none below 256; here it has them all.

    Args:
        targets: the class of each file of the training index, int64 `[N]`.
        sampling: which of them come how often.
        seed: the recipe's seed.
        effective_batch: samples per optimizer step, a multiple of `per_device_batch * world_size`.
        per_device_batch: samples per forward pass.
        steps_per_epoch: optimizer steps per epoch.
        first_step: the step to start with, counted from 0 over all epochs.
        last_step: the step to stop before.
        rank: this process, 0 to `world_size` - 1.
        world_size: number of processes.
        first_epoch: the epoch of step 0: a later one where these samples are for the second phase of a training.
        windows: how samples that lie together are shuffled; None: each lies alone.
        weights: see `epoch_samples`, of each file.

    Attributes:
        used: the files that are trained on at all, see `used_samples`.
    """

    def __init__(
        self,
        targets: Indices,
        sampling: Sampling,
        *,
        seed: int,
        effective_batch: int,
        per_device_batch: int,
        steps_per_epoch: int,
        first_step: int,
        last_step: int,
        rank: int = 0,
        world_size: int = 1,
        first_epoch: int = 0,
        windows: Windows | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        if not len(targets) or steps_per_epoch < 1 or per_device_batch < 1:
            raise ValueError("the samples, steps_per_epoch and per_device_batch must be at least 1")
        if effective_batch < 1 or effective_batch % (per_device_batch * world_size):
            devices = f"{per_device_batch} x {world_size}"
            raise ValueError(f"effective_batch {effective_batch} is not a multiple of {devices}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}")
        if not 0 <= first_step <= last_step:
            raise ValueError(f"steps from {first_step} to {last_step}")
        self.used = used_samples(sampling, targets, seed)
        self.windows = windows and windows._replace(shards=windows.shards[self.used])
        self.weights = None if weights is None else weights[self.used]
        self.targets, self.sampling, self.seed = targets, sampling, seed
        self.effective_batch, self.per_device_batch = effective_batch, per_device_batch
        self.steps_per_epoch, self.first_step, self.last_step = steps_per_epoch, first_step, last_step
        self.rank, self.world_size, self.first_epoch = rank, world_size, first_epoch
        self.accumulation = effective_batch // (per_device_batch * world_size)

    def __len__(self) -> int:
        """Micro-batches of this rank."""
        return (self.last_step - self.first_step) * self.accumulation

    def __iter__(self) -> Iterator[list[Position]]:
        uses_all = len(self.used) == len(self.targets)  # of millions, copies would count
        used_targets = self.targets if uses_all else self.targets[self.used]
        epoch, order = -1, self.used
        for step in range(self.first_step, self.last_step):
            if self.first_epoch + step // self.steps_per_epoch != epoch:
                epoch = self.first_epoch + step // self.steps_per_epoch
                order = self._samples_of(epoch, used_targets)
                order = order if uses_all else self.used[order]
            first = step % self.steps_per_epoch * self.effective_batch
            for micro_batch in range(self.accumulation):
                begin = first + micro_batch * self.world_size + self.rank
                positions = np.arange(begin, first + self.effective_batch, self.world_size * self.accumulation)
                indices = order.take(positions, mode="wrap")
                yield [Position(epoch, *pair) for pair in zip(positions.tolist(), indices.tolist(), strict=True)]

    def _samples_of(self, epoch: int, targets: Indices) -> Indices:
        return epoch_samples(self.sampling, targets, self.seed, epoch, self.windows, weights=self.weights)
