"""The index of so many files as ImageNet has, and ImageNet-21k: seconds, and bytes a file.

    python benchmarks/index.py [FILES ...]

The folders are simulated: what reads a folder is given the names, so that it is not the disk that is measured.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any
from unittest.mock import patch

import numpy as np

from convsmith.data.folders import folder_index, layout, scan
from convsmith.data.folders.folder_index import open_large_folder
from convsmith.data.folders.scan import Listing
from convsmith.data.loading.sampler import StepSampler
from convsmith.data.split import Share
from convsmith.recipe.sampling import Plain

SIZES = {1_281_167: 1000, 14_197_122: 21_841}  # files and classes of ImageNet and of ImageNet-21k


def simulated(files: int, classes: int) -> Callable[[Path], Listing]:
    """Make a stand-in for `list_folder` of so many files with names like those of ImageNet, in so many classes."""
    each, more = divmod(files, classes)

    def list_folder(directory: Path, *_: object) -> Listing:
        for recorder in scan._recorders:
            recorder.append(directory)
        if directory.name == "simulated":
            return Listing(folders=[f"n{i:08}" for i in range(classes)])
        images = each + (int(directory.name[1:]) < more)
        return Listing(images=[f"{directory.name}_{i}.JPEG" for i in range(images)])

    return list_folder


def measure(files: int, classes: int, sending: Any) -> None:
    """Open the index, and do with it what a training does; send a line of each."""
    folders, numbers, status = simulated(files, classes), count(), Path("/").stat()
    for module, name, stand_in in (
        (scan, "list_folder", folders),
        (layout, "list_folder", folders),
        (scan, "_identity", lambda _: (0, next(numbers))),
        (scan, "_folders_above", lambda *_: set()),
        (scan, "is_output", lambda _: False),
        (folder_index, "_times", lambda folders: np.zeros(len(folders), np.int64)),
    ):
        patch.object(module, name, stand_in).start()
    before = resident()
    data: Any = None
    sampler: Any = None

    def open_it() -> None:
        nonlocal data
        data = open_large_folder(Path("/simulated"), Share(0.01))

    def stats() -> None:
        with patch.object(os, "stat", lambda _: status):
            data.train.stats  # noqa: B018

    def first_batch() -> None:
        nonlocal sampler
        sampler = StepSampler(
            data.train.targets,
            Plain(),
            seed=0,
            effective_batch=256,
            per_device_batch=256,
            steps_per_epoch=len(data.train) // 256,
            first_step=0,
            last_step=10,
        )
        next(iter(sampler))

    for what, work in (
        ("open", open_it),
        ("open again", open_it),
        ("names", lambda: data.train.names),
        ("sizes and times", stats),
        ("digest", lambda: data.names_digest),
        ("first batch", first_batch),
    ):
        start = time.perf_counter()
        work()
        took = time.perf_counter() - start
        peak = getrusage(RUSAGE_SELF).ru_maxrss * 1024 - before
        sending.send(f"| {files:,} | {what} | {took:.1f} | {(resident() - before) / files:.0f} | {peak / files:.0f} |")
    sending.send(None)


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(*sizes: str) -> None:
    """Print a table."""
    print("| files | what | seconds | bytes a file, held | most so far |\n|---|---|---|---|---|")
    for files in map(int, sizes or SIZES):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["CONVSMITH_CACHE"] = folder
            context = get_context("fork")
            receiving, sending = context.Pipe(duplex=False)
            child = context.Process(target=measure, args=(files, SIZES.get(files, 1000), sending))
            child.start()
            while line := receiving.recv():
                print(line, flush=True)
            child.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
