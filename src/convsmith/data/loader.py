"""Batches of uint8 images. What is in a batch depends on the recipe and the step, never on the workers."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convsmith.bundle.decode import ImageError
from convsmith.data.check import BadFile
from convsmith.data.dataset import Reader, Samples
from convsmith.data.sampler import Position, StepSampler
from convsmith.errors import ConvsmithError, of_system
from convsmith.machine import available_cores
from convsmith.randomness import Stream, counter_seed


class Batch(NamedTuple):
    """Some samples.

    Attributes:
        images: uint8 `[N, 3, H, W]`.
        targets: the task's own, such as the classes, int64 `[N]`.
        bad: the samples that could not be read and are left out, in the order they were met.
    """

    images: Tensor
    targets: Tensor
    bad: list[BadFile]


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
    return _loader(_TrainSamples(samples, read, seed, attempts), sampler, workers)


def val_loader(
    samples: Samples, read: Reader, batch_size: int, workers: int, rank: int = 0, world_size: int = 1
) -> DataLoader[Batch]:
    """Each sample once, in order; the last batch may be short.

    A bad sample is named in `Batch.bad` and left out. Each of several processes has every `world_size`-th batch from
    the `rank`-th on: all of them together see each sample once.
    """
    batches = [range(first, min(first + batch_size, len(samples))) for first in range(0, len(samples), batch_size)]
    # its processes stay from one validation to the next: they start at once, and there are fewer forks that can fail
    return _loader(_ValSamples(samples, read), batches[rank::world_size], workers, persistent=workers > 0)


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
        self.images.append(image)
        self.targets.append(target)
        return True

    def batch(self) -> Batch:
        if not self.images:
            return Batch(torch.empty(0, 3, 1, 1, dtype=torch.uint8), torch.empty(0, dtype=torch.int64), self.bad)
        return Batch(torch.stack(self.images), torch.stack(self.targets), self.bad)


def _loader(
    samples: Dataset[Batch], batches: Iterable[Any], workers: int, persistent: bool = False
) -> DataLoader[Batch]:
    return _Loader(
        samples,
        batch_size=None,  # the sampler yields whole batches
        sampler=batches,
        num_workers=workers,
        persistent_workers=persistent,
        collate_fn=_into_shared_memory if workers else _as_it_is,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_the_main_process,
        # fork starts at once, shares the index for nothing and needs no `__main__` guard in scripts. Workers run
        # Pillow, and torch on one thread, which wait for nothing that other threads here (torch's, onnxruntime's,
        # a progress bar's) hold at the fork. Workers of a forkserver live on for ever when this process is killed.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        generator=torch.Generator(),  # else starting the loader would draw from the trainer's own generator
    )


class _Loader(DataLoader[Batch]):
    """A loader that says what to do when its processes cannot begin, die, or have no shared memory for a batch."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        try:
            with worker_deaths_are_told():
                yield from super().__iter__()
        except (OSError, RuntimeError) as error:
            lines = [line for line in str(error).splitlines() if _NO_SHARED_MEMORY.search(line)]
            if not lines and isinstance(error, OSError):  # of the queues to the processes, or of starting them
                raise of_system(error, "the loader's processes cannot begin") from error
            if not lines:
                raise
            full = "No space left" in lines[-1]
            raise ConvsmithError(
                f"the shared memory of this machine {'is full' if full else 'cannot be used'}",
                lines[-1],
                f"The loader's processes hand over images in /dev/shm: {_ROOM if full else 'let it be written'}, or "
                "set data.workers=0. The same command goes on from the last checkpoint.",
            ) from error


_ROOM = "give it more room (docker run --shm-size=8g)"


@contextmanager
def worker_deaths_are_told() -> Iterator[None]:
    """Make a ConvsmithError of the death of a loader's process in the block; torch raises that from a signal's handler.

    Raises:
        ConvsmithError: one has died, most often because memory is full. Its exit code lets a launcher start again.
    """
    try:
        yield
    except RuntimeError as error:
        found = _DEATH.search(str(error))
        if found is None or _NO_SHARED_MEMORY.search(str(error)):
            raise
        killed = re.search("Killed|exited unexpectedly", str(error)) is not None  # the latter without a signal's name
        told = ConvsmithError(
            f"a process that loads images has died ({found[1].strip()})",
            "the system ends one by SIGKILL when memory is full" if killed else "",
            "Set data.workers to a smaller number, or free memory. The same command goes on from the last checkpoint."
            if killed
            else "Set data.workers=0 to see what it is. The same command goes on from the last checkpoint.",
        )
        told.exit_code = 128 + signal.SIGKILL
        raise told from error


_DEATH = re.compile(r"DataLoader worker \((pid.*)")


# Said where a semaphore or a tensor finds no room, and by torch where a process dies of it.
_NO_SHARED_MEMORY = re.compile(
    "No space left on device|Read-only file system|unable to .*shared memory|out of shared memory"
)


def _as_it_is(batch: Any) -> Any:
    return batch


def _into_shared_memory(batch: Any) -> Any:
    """Move a batch where the main process can read it; were there no room, the thread that sends it would lose it."""
    assert isinstance(batch, Batch)
    for tensor in (batch.images, batch.targets):
        if tensor.numel():
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    return batch


def _leave_signals_to_the_main_process(_worker: int) -> None:
    """Let a worker outlive a signal for all processes, such as Ctrl-C: the main one still needs its batches.

    Only the main process itself may end a worker by SIGTERM, as it does when it exits with a loader still running.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):  # not on Windows
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_the_end, args=(os.getppid(),), daemon=True).start()


def _wait_for_the_end(main_process: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != main_process:
        pass
    os._exit(0)  # another status would make torch raise in the main process, which is on its way out
