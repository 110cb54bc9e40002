"""Reading images in the order of an epoch from a cold disk: files, tar shards, and the package webdataset.

    sudo python benchmarks/shards.py [FOLDER] [IMAGES]

It writes photographs of 500 x 375 pixels below FOLDER, then reads the bytes of all of them, one after another, in one
thread, each time after the system has dropped what it holds of the disk, which takes root. Then once more as they are
held.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from materials import write_photographs

from convsmith.data.dataset import DataSet
from convsmith.data.loading.sampler import Windows, epoch_order
from convsmith.data.open_data import open_data
from convsmith.data.shards.pack import pack
from convsmith.recipe.data import Data

SHARD = 100_000_000  # bytes


def read(data: DataSet, order: np.ndarray) -> Iterator[int]:
    """The bytes of each image in some order."""
    for i in order.tolist():
        yield len(data.train.contents(i)[0].read())


def read_by_webdataset(folder: Path) -> Iterator[int]:
    """The bytes of each image as webdataset gives them, shuffled as its documentation has it."""
    import webdataset

    urls = sorted(map(str, folder.glob("*.tar")))
    for sample in webdataset.WebDataset(urls, shardshuffle=len(urls), seed=0).shuffle(1000):
        yield len(sample["jpg"])


def seconds(work: Callable[[], Iterator[int]], cold: bool) -> tuple[float, int]:
    """Seconds and bytes of all that is read."""
    if cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    start = time.perf_counter()
    size = sum(work())
    return time.perf_counter() - start, size


def main(place: str | None = None, count: str = "4000") -> None:
    """Print images and megabytes each second, of each way."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        root = Path(folder)
        os.environ["CONVSMITH_CACHE"] = str(root / "cache")
        files = open_data("classification", Data(), write_photographs(root / "files", count=int(count)), hold_out=False)
        pack(files, root / "shards", SHARD)
        shards = open_data("classification", Data(), root / "shards", hold_out=False)
        assert shards.train.shards is not None
        total, windows = len(files.train), Windows(shards.train.shards, Data().window)
        ways: dict[str, Callable[[], Iterator[int]]] = {
            "files": lambda: read(files, epoch_order(total, 0, 0)),
            "shards, at random": lambda: read(shards, epoch_order(total, 0, 0)),
            "shards, windows of 1000": lambda: read(shards, epoch_order(total, 0, 0, windows._replace(size=1000))),
            f"shards, windows of {windows.size}": lambda: read(shards, epoch_order(total, 0, 0, windows)),
            "webdataset": lambda: read_by_webdataset(root / "shards"),
        }
        for cold in (True, False):
            for name, work in ways.items():
                took, size = seconds(work, cold)
                held = "cold" if cold else "held"
                print(f"{held}  {name:26} {total / took:8,.0f} images/s {size / took / 1e6:8,.0f} MB/s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
