"""Batches of uint8 images. What is in a batch depends on the recipe and the step, never on the workers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convsmith.bundle.images.image_error import ImageError
from convsmith.data.augment.custom import CustomFailed
from convsmith.data.checks.check import BadFile
from convsmith.data.dataset import Reader, Samples
from convsmith.data.loading.loader_processes import loader
from convsmith.data.loading.sampler import Position, StepSampler
from convsmith.errors import ConvsmithError, printable
from convsmith.machine import available_cores
from convsmith.randomness import Stream, counter_seed


class Batch(NamedTuple):
    """Some samples.

    Attributes:
        images: uint8 `[N, 3, H, W]`, in the memory layout `torch.channels_last`.
        targets: the task's own, such as the classes, int64 `[N]`.
        bad: the samples that could not be read and are left out, in the order they were met.
    """

    images: Tensor
    targets: Tensor
    bad: list[BadFile]

    @property
    def samples(self) -> int:
        """How many samples were looked at for it, the bad ones among them."""
        return len(self.targets) + len(self.bad)


def raise_on_bad(batch: Batch) -> None:
    """ConvsmithError that names the batch's bad files, if it has any."""
    bad = list(dict.fromkeys(batch.bad))
    if bad:
        more = f", and {len(bad) - 1} more of the same batch" if len(bad) > 1 else ""
        raise ConvsmithError(
            f"cannot decode {bad[0].path}{more}",
            bad[0].reason,
            f"{bad[0].fix}\nSet data.on_error=skip to go on without it, or mend the data and start a new run.".lstrip(),
        )


def train_loader(
    samples: Samples,
    read: Reader,
    sampler: StepSampler,
    *,
    seed: int,
    attempts: int,
    workers: int,
) -> DataLoader[Batch]:
    """The training batches from the sampler's first step to its last, one stream over all epochs.

    The augmentation of a sample is a function of (seed, epoch, position), so batches are the same, bit for bit, with
    any number of workers and from any first step.

    Args:
        samples: what is trained on.
        read: gives a sample, with what is random drawn from torch's default generator.
        sampler: which samples come when.
        seed: the recipe's seed.
        attempts: how many samples in a row are tried for one place. A bad one is named in `Batch.bad`, and the next
            one that can be read takes its place, with its own target; with none it is left out.
        workers: processes that load; 0 loads in this one.
    """
    return loader(_TrainSamples(samples, read, seed, attempts), sampler, workers)


def val_loader(
    samples: Samples, read: Reader, batch_size: int, *, workers: int, rank: int = 0, world_size: int = 1
) -> DataLoader[Batch]:
    """Each sample once, in order; the last batch may be short.

    A bad sample is named in `Batch.bad` and left out. Each of several processes has every `world_size`-th batch from
    the `rank`-th on: all of them together see each sample once.
    """
    batches = [range(first, min(first + batch_size, len(samples))) for first in range(0, len(samples), batch_size)]
    # its processes stay from one validation to the next: they start at once, and there are fewer forks that can fail
    return loader(_ValSamples(samples, read), batches[rank::world_size], workers, persistent=workers > 0)


def default_workers(device_type: str, cores: int | None = None, local_devices: int = 1) -> int:
    """Loader processes of one training process: 1 to 8.

    An accelerator leaves its cores to the loader. On a CPU, where training wants all cores, one in eight loads.

    Args:
        device_type: `cpu`, or an accelerator such as `cuda`.
        cores: cores that all training processes on this machine share; None counts those of this process.
        local_devices: training processes on this machine.
    """
    own = (cores or available_cores()) // local_devices
    return max(1, min(8, own // 8 if device_type == "cpu" else own))


class _TrainSamples(Dataset[Batch]):
    def __init__(self, samples: Samples, read: Reader, seed: int, attempts: int) -> None:
        self.samples, self.read, self.seed = samples, read, seed
        self.attempts = min(len(samples), attempts)

    def __getitem__(self, positions: list[Position]) -> Batch:
        gathered = _Gathered(self.samples, self.read)
        with torch.random.fork_rng(devices=[]):  # without workers this is the trainer's own generator
            for epoch, position, first in positions:
                seed = counter_seed(Stream.AUGMENT, self.seed, epoch, position)
                for i in range(first, first + self.attempts):
                    torch.default_generator.manual_seed(seed)
                    if gathered.add(i % len(self.samples)):
                        break
        return gathered.batch()


class _ValSamples(Dataset[Batch]):
    def __init__(self, samples: Samples, read: Reader) -> None:
        self.samples, self.read = samples, read

    def __getitem__(self, positions: range) -> Batch:
        gathered = _Gathered(self.samples, self.read)
        for i in positions:
            gathered.add(i)
        return gathered.batch()


class _Gathered:
    """A batch that comes together."""

    def __init__(self, samples: Samples, read: Reader) -> None:
        self.samples, self.read = samples, read
        self.images: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.bad: list[BadFile] = []

    def add(self, i: int) -> bool:
        """Take in sample i, or its name if it is bad; whether it is good."""
        try:
            image, target = self.read(i)
        except ImageError as error:
            self.bad.append(BadFile.of(self.samples.name(i), error))
            return False
        except CustomFailed as error:
            raise error.on(printable(self.samples.name(i))) from error
        self.images.append(image)
        self.targets.append(target)
        return True

    def batch(self) -> Batch:
        if not self.images:
            return Batch(torch.empty(0, 3, 1, 1, dtype=torch.uint8), torch.empty(0, dtype=torch.int64), self.bad)
        # The channels of a pixel are neighbours, as they were decoded and as convolutions like them: nothing is turned.
        pixels = torch.stack([image.permute(1, 2, 0) for image in self.images])
        return Batch(pixels.permute(0, 3, 1, 2), torch.stack(self.targets), self.bad)
