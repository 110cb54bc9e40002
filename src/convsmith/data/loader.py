"""Batches of uint8 images. What is in a batch depends on the recipe and the step, never on the workers."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convsmith.bundle.decode import ImageError, decode_rgb, read_bytes
from convsmith.bundle.preprocess import preprocess as preprocess_image
from convsmith.bundle.runtime import available_cores
from convsmith.data.augment import train_transform
from convsmith.data.check import BadFile
from convsmith.data.index import Index, printable
from convsmith.data.sampler import Position, StepSampler
from convsmith.errors import ConvsmithError
from convsmith.randomness import Stream, counter_seed
from convsmith.recipe.augmentation import Augment
from convsmith.spec import Preprocess


class Batch(NamedTuple):
    """Some samples.

    Attributes:
        images: uint8 `[N, 3, H, W]`, zeros where there is no image.
        targets: int64 `[N]`, -1 where there is no image.
        bad: the files that could not be decoded, in the order they were met.
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
            "Repair or remove the file, or set data.on_error=skip.",
        )


def train_loader(
    index: Index,
    augment: Augment,
    preprocess: Preprocess,
    sampler: StepSampler,
    seed: int,
    on_error: Literal["error", "skip"],
    workers: int,
) -> DataLoader[Batch]:
    """The training batches from the sampler's first step to its last, one stream over all epochs.

    The augmentation of a sample is a function of (seed, epoch, position), so batches are the same, bit for bit, with
    any number of workers and from any first step.

    Args:
        index: the training files.
        augment: random changes.
        preprocess: gives the interpolation where `augment` resizes.
        sampler: which samples come when.
        seed: the recipe's seed.
        on_error: a bad file is named in `Batch.bad` either way. With `skip` the next file of the index that can be
            decoded takes its place, with its own target; with `error` the place stays empty.
        workers: processes that load; 0 loads in this one.
    """
    return _loader(_TrainSamples(index, augment, preprocess, seed, on_error), sampler, workers)


def val_loader(index: Index, preprocess: Preprocess, batch_size: int, workers: int) -> DataLoader[Batch]:
    """Each file once, in the order of the index, prepared as in predict and serve; the last batch may be short.

    A bad file is named in `Batch.bad`, and its place stays empty.
    """
    batches = [range(first, min(first + batch_size, len(index))) for first in range(0, len(index), batch_size)]
    return _loader(_ValSamples(index, preprocess), batches, workers)


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
    def __init__(
        self, index: Index, augment: Augment, preprocess: Preprocess, seed: int, on_error: Literal["error", "skip"]
    ) -> None:
        self.index, self.augment, self.preprocess, self.seed = index, augment, preprocess, seed
        # More than 1 % of the files in a row: the trainer stops at this, so there is no need to try them all.
        self.attempts = min(len(index), max(100, len(index) // 100 + 1)) if on_error == "skip" else 1

    @cached_property
    def transform(self) -> Callable[[NDArray[np.uint8]], Tensor]:
        return train_transform(self.augment, self.preprocess)  # made in the worker: it cannot be pickled

    def __getitem__(self, positions: list[Position]) -> Batch:
        batch = _empty_batch(len(positions), self.augment.size)
        with torch.random.fork_rng(devices=[]):  # without workers this is the trainer's own generator
            for slot, (epoch, position, first) in enumerate(positions):
                seed = counter_seed(Stream.AUGMENT, self.seed, epoch, position)
                for i in range(first, first + self.attempts):
                    torch.default_generator.manual_seed(seed)
                    if _load(self.index, i % len(self.index), self._augmented, batch, slot):
                        break
        return batch

    def _augmented(self, picture: Image.Image) -> Tensor:
        return self.transform(np.array(picture))


class _ValSamples(Dataset[Batch]):
    def __init__(self, index: Index, preprocess: Preprocess) -> None:
        self.index, self.preprocess = index, preprocess

    def __getitem__(self, positions: range) -> Batch:
        batch = _empty_batch(len(positions), self.preprocess.crop)
        for slot, i in enumerate(positions):
            _load(self.index, i, self._preprocessed, batch, slot)
        return batch

    def _preprocessed(self, picture: Image.Image) -> Tensor:
        return torch.from_numpy(preprocess_image(picture, self.preprocess))


def _empty_batch(samples: int, size: int) -> Batch:
    images = torch.zeros(samples, 3, size, size, dtype=torch.uint8)
    return Batch(images, torch.full((samples,), -1, dtype=torch.int64), [])


def _load(index: Index, i: int, prepare: Callable[[Image.Image], Tensor], batch: Batch, slot: int) -> bool:
    """Put file i into a place of the batch, or into its list of bad files; whether it is good."""
    path = index.path(i)
    try:
        batch.images[slot] = prepare(decode_rgb(read_bytes(path), str(path)))
    except ImageError as error:
        batch.bad.append(BadFile(printable(path), error.why))
        return False
    batch.targets[slot] = index.target(i)
    return True


def _loader(samples: Dataset[Batch], batches: Iterable[Any], workers: int) -> DataLoader[Batch]:
    return DataLoader(
        samples,
        batch_size=None,  # the sampler yields whole batches
        sampler=batches,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_the_main_process,
        # fork starts at once, shares the index for nothing and needs no `__main__` guard in scripts. Workers run
        # Pillow, and torch on one thread, which wait for nothing that other threads here (torch's, onnxruntime's,
        # a progress bar's) hold at the fork. Workers of a forkserver live on for ever when this process is killed.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        generator=torch.Generator(),  # else starting the loader would draw from the trainer's own generator
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _leave_signals_to_the_main_process(_worker: int) -> None:
    """Let a worker outlive a Ctrl-C or SIGTERM for the whole process group: the main process still needs its batches.

    Only the main process itself may end a worker by SIGTERM, as it does when it exits with a loader still running.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_the_end, args=(os.getppid(),), daemon=True).start()


def _wait_for_the_end(main_process: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != main_process:
        pass
    os._exit(0)  # another status would make torch raise in the main process, which is on its way out
