"""Images a second of the training loader, one worker on one core, beside torchvision's preset and the bare decoder.

    python benchmarks/loading.py PHOTOGRAPHS [--images 1600] [--rounds 3]

PHOTOGRAPHS is a folder of photographs; 100 of them are made 500 x 375 and 2000 x 1500 pixels large. Each way loads them
with a random resized crop to 224 pixels and a flip, in turn with the others, and once more with the thresholds of the
C library's allocator left as they are ("default") in place of those that keep freed memory ("kept"), for all ways
alike. Medians of the rounds and their quartiles. It takes about four minutes on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import simplejpeg
import torch
from materials import write_photographs
from spread import spread
from torchvision import transforms
from torchvision.datasets import ImageFolder

from convsmith.allocation import keep_freed_memory
from convsmith.data.dataset import Decode
from convsmith.data.loading.loader import train_loader
from convsmith.data.loading.sampler import StepSampler
from convsmith.data.open_data import open_data
from convsmith.recipe.augmentation import Augment, RandomResizedCrop
from convsmith.recipe.data import Data
from convsmith.recipe.sampling import Plain
from convsmith.spec import Preprocess

SIZES = {(500, 375): 1.0, (2000, 1500): 0.25}  # and which share of the images is loaded
BATCH, WARM, LEAST = 32, 3, 8  # batches that are not measured, and that are at least
PREPROCESS = Preprocess(resize=256, crop=224)


def bare_decoder(folder: Path, count: int) -> Iterable[int]:
    """Decode bytes that are in memory, which no loader can be faster than."""
    files = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
    for first in range(0, count, BATCH):
        for i in range(first, first + BATCH):
            simplejpeg.decode_jpeg(files[i % len(files)], "RGB")
        yield BATCH


def torchvision_preset(folder: Path, count: int) -> Iterable[int]:
    """The default transforms of torchvision's classification reference, with Pillow."""
    steps = transforms.Compose(
        [
            transforms.RandomResizedCrop(224, interpolation=transforms.InterpolationMode.BILINEAR, antialias=True),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
            transforms.ConvertImageDtype(torch.float),
            transforms.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        ]
    )
    images = ImageFolder(str(folder), steps)
    sampler = torch.utils.data.RandomSampler(images, replacement=True, num_samples=count)
    loader: Iterable[Any] = torch.utils.data.DataLoader(images, BATCH, sampler=sampler, num_workers=1)
    for batch, _ in loader:
        yield len(batch)


def ours(folder: Path, count: int, decode: Decode = "exact") -> Iterable[int]:
    """The loader that `convsmith train` has."""
    data = open_data("classification", Data(), folder, hold_out=False)
    augment = Augment(random_resized_crop=RandomResizedCrop(size=224), hflip=0.5)
    sampler = StepSampler(
        data.train.targets,
        Plain(),
        seed=0,
        effective_batch=BATCH,
        per_device_batch=BATCH,
        steps_per_epoch=len(data.train) // BATCH,
        first_step=0,
        last_step=count // BATCH,
    )
    read = data.training_reader("train", augment, PREPROCESS, decode)
    for batch in train_loader(data.train, read, sampler, seed=0, attempts=1, workers=1):
        yield len(batch.images)


WAYS: dict[str, Callable[[Path, int], Iterable[int]]] = {
    "bare decoder": bare_decoder,
    "torchvision preset": torchvision_preset,
    "convsmith, exact": ours,
    "convsmith, scaled": partial(ours, decode="scaled"),
}


def rate(way: str, folder: Path, count: int, keeps_memory: bool) -> float:
    """Images a second of a way in a process of its own, once it is warm."""
    context = get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(way, folder, count, keeps_memory, sending))
    child.start()
    measured: float = receiving.recv()
    child.join()
    return measured


def _measure(way: str, folder: Path, count: int, keeps_memory: bool, sending: Any) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    if keeps_memory:
        keep_freed_memory()
    else:
        os.environ["MALLOC_TOP_PAD_"] = "131072"  # as it is by default; where it is said, convsmith changes nothing
    batches = iter(WAYS[way](folder, count))
    for _ in range(WARM):
        next(batches)
    start, end, done = time.perf_counter(), 0.0, 0
    for size in batches:
        end, done = time.perf_counter(), done + size  # what follows the last one ends the loader's process
    sending.send(done / (end - start))


def main() -> None:
    """Print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for size, share in SIZES.items():
        count = (WARM + max(LEAST, round(share * options.images / BATCH))) * BATCH
        with tempfile.TemporaryDirectory() as folder:
            photographs = write_photographs(Path(folder), options.photographs, size)
            kilobytes = [path.stat().st_size / 1000 for path in photographs.rglob("*.jpg")]
            print(f"\n{size[0]} x {size[1]}, {sum(kilobytes) / len(kilobytes):.0f} kB on average\n")
            found: dict[tuple[str, bool], list[float]] = {}
            for _ in range(options.rounds):
                for way in WAYS:
                    for keeps in (True, False):
                        found.setdefault((way, keeps), []).append(rate(way, photographs, count, keeps))
        print("| way | images/s, kept | to preset | to decoder | images/s, default | to preset | to decoder |")
        print("|---|---|---|---|---|---|---|")
        medians = {key: median(rates) for key, rates in found.items()}
        for way in WAYS:
            cells = []
            for keeps in (True, False):
                own, preset, bare = (medians[it, keeps] for it in (way, "torchvision preset", "bare decoder"))
                cells += [spread(found[way, keeps]), f"{own / preset:.2f}", f"{own / bare:.2f}"]
            print(f"| {way} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
