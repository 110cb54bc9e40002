"""The index of so many files as ImageNet has, and ImageNet-21k: seconds, and bytes a file.

    python benchmarks/index.py [FILES ...]

The class folders are there, and empty: what reads one is given names, so that it is not the disk that is measured. All
else is as in a training: processes read them, the index is kept, and the times of the folders are compared when it is
opened again, from the cache and then from the run.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from math import inf
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any
from unittest.mock import patch

from convsmith.data.folders import class_files, layout, scan
from convsmith.data.folders.class_files import read_chunk
from convsmith.data.folders.folder_index import open_large_folder
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.folders.scan import Listing
from convsmith.data.kept_index import index_beside
from convsmith.data.split import Share
from convsmith.machine import available_cores

SIZES = {1_281_167: 1000, 14_197_122: 21_841}  # files and classes of ImageNet and of ImageNet-21k
SHARE = Share(0.01)


def make_folders(root: Path, files: int) -> Path:
    """Make the class folders of so many files; they have not just changed, which would keep an index from use."""
    data = root / f"files-{files}-{SIZES.get(files, 1000)}"
    for i in range(SIZES.get(files, 1000)):
        (data / f"n{i:08}").mkdir(parents=True)
        os.utime(data / f"n{i:08}", (1, 1))
    os.utime(data, (1, 1))
    return data


def simulated(directory: Path, *_recorders: object) -> Listing:
    """Stand in for `list_folder`: each class folder has its share of the files, with names like those of ImageNet."""
    for recorder in scan._recorders:
        recorder.append(directory)
    if directory.name.startswith("files-"):
        return Listing(folders=sorted(folder.name for folder in directory.iterdir()))
    _, files, classes = directory.parent.name.split("-")
    each, more = divmod(int(files), int(classes))
    images = each + (int(directory.name[1:]) < more)
    return Listing(images=[f"{directory.name}_{i}.JPEG" for i in range(images)])


def read_simulated(*arguments: Any) -> Any:
    """Read class folders in a process of its own, which imports this file for it."""
    with patch.object(scan, "list_folder", simulated):
        found = read_chunk(*arguments)
    held = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]
    (arguments[0].parent / f"held-{os.getpid()}").write_text(held)
    return found


def measure(root: Path, files: int, sending: Any) -> None:
    """Open the index, and do with it what a training does; send a line of each."""
    place, status = make_folders(root, files), Path("/").stat()
    import index  # a process that is started knows this file by its name, and needs no torch for it

    from convsmith.data.loading.sampler import StepSampler
    from convsmith.recipe.sampling import Plain

    for module, name, stand_in in (
        (scan, "list_folder", simulated),
        (layout, "list_folder", simulated),
        (class_files, "read_chunk", index.read_simulated),
    ):
        patch.object(module, name, stand_in).start()
    before = resident()
    data: Any = None
    sampler: Any = None

    def open_alone() -> None:
        with patch.object(class_files, "_ALONE", inf):
            open_image_folder(place, SHARE)

    def open_it() -> None:
        nonlocal data
        data = open_large_folder(place, SHARE)

    def keep() -> None:
        with index_beside(root / "run" / "index") as write:
            open_it()
            write()

    def open_from_run() -> None:
        shutil.rmtree(root / "cache")
        with index_beside(root / "run" / "index"):
            open_it()

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
        ("read by one process", open_alone),
        (f"read by {available_cores()}, and kept", open_it),
        ("open again", open_it),
        ("keep it in a run, too", keep),
        ("open from the run", open_from_run),
        ("names", lambda: data.train.names),
        ("sizes and times", stats),
        ("digest", lambda: data.names_digest),
        ("first batch", first_batch),
    ):
        start = time.perf_counter()
        work()
        took = time.perf_counter() - start
        peak = getrusage(RUSAGE_SELF).ru_maxrss * 1024 - before
        sending.send(f"| {files:,} | {what} | {took:.2f} | {(resident() - before) / files:.0f} | {peak / files:.0f} |")
    most = max(int(path.read_text()) for path in root.glob("held-*")) // 1024
    sending.send(f"\nA process that read folders had {most} MB at most.\n")
    sending.send(None)


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(*sizes: str) -> None:
    """Print a table."""
    for files in map(int, sizes or SIZES):
        print("| files | what | seconds | bytes a file, held | most so far |\n|---|---|---|---|---|", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            os.environ["CONVSMITH_CACHE"] = f"{folder}/cache"
            context = get_context("fork")
            receiving, sending = context.Pipe(duplex=False)
            child = context.Process(target=measure, args=(Path(folder), files, sending))
            child.start()
            sending.close()
            while line := receiving.recv():
                print(line, flush=True)
            child.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
