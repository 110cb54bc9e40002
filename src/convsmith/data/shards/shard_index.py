"""The index of tar shards: made once, kept in the cache, and checked by the sizes and times of the shards."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.data.loading.processes import in_processes
from convsmith.data.shards.shard_paths import ShardPaths
from convsmith.data.shards.shard_samples import PLACE, Found, Packed, find_samples, join
from convsmith.errors import ConvsmithError, counted, of_system, printable
from convsmith.machine import available_cores, cache_folder
from convsmith.storage import locked_file, new_directory
from convsmith.waiting import answer_of, reading_in_time

logger = logging.getLogger(__name__)

_VERSION = 3
_BYTES_OF_A_PROCESS = 2**28  # a process that reads the headers of less takes longer to start
_EVERY = 10.0  # seconds from one line of progress to the next
_ARRAYS = ("places", "buffer", "offsets")
_OF_SAMPLES = ("labels", "weights", "groups")


def index_of(shards: ShardPaths) -> tuple[Found, NDArray[np.int64]]:
    """The samples of all shards, and the size in bytes and time of change in nanoseconds of each shard, `[S, 2]`.

    They are read from the shards in several processes where they are new or have changed, else from the cache.

    Raises:
        ConvsmithError: a shard cannot be read, or is not what it should be.
    """
    stats = _stats(shards)
    texts = [str(path) for path in shards.paths]
    name = hashlib.sha256("\0".join([str(_VERSION), *texts]).encode("utf-8", "surrogateescape")).hexdigest()
    folder = cache_folder() / "shards" / name[:32]
    facts = {"version": _VERSION, "stats": stats.tolist()}
    with locked_file(folder.with_suffix(".lock")):
        found = _load(folder, facts)
        if found is None:
            found = _read(shards, int(stats[:, 0].sum()))
            try:
                _save(folder, facts, found)
            except OSError as error:
                logger.warning("%s", of_system(error, f"the index of the shards cannot be kept in {folder}"))
            else:
                found = _load(folder, facts) or found  # mapped, so that all processes share one
    return found, stats


def _stats(shards: ShardPaths) -> NDArray[np.int64]:
    if shards.files:
        return np.array([file[1:] for file in shards.files], np.int64)
    try:
        found = answer_of(
            lambda: [path.stat() for path in shards.paths],
            f"one of the shards from {shards.name(0)} on",
        )
    except OSError as error:
        raise of_system(error) from error
    return np.array([(status.st_size, status.st_mtime_ns) for status in found], np.int64).reshape(-1, 2)


def _read(shards: ShardPaths, size: int) -> Found:
    """Read the samples from the shards."""
    total, last = len(shards.paths), time.monotonic()
    processes = min(available_cores(), total, size // _BYTES_OF_A_PROCESS)
    if processes > 1:
        found: Iterator[Found] = in_processes(find_samples, range(total), lambda number: (shards, number), processes)
    else:
        found = (reading_in_time(partial(find_samples, shards, number)) for number in range(total))
    logger.info("reading what is in %s", counted(total, "shard"))
    parts: list[Found] = []
    with closing(found):  # type: ignore[type-var]
        for part in found:
            parts.append(part)
            if time.monotonic() - last > _EVERY:
                last = time.monotonic()
                logger.info("%d of %d shards read, %d samples", len(parts), total, sum(map(len, parts)))
    joined = join(parts)
    if not len(joined):
        others = f" and {counted(total - 1, 'more shard')}" if total > 1 else ""
        raise ConvsmithError(
            f"no samples in {printable(shards.name(0))}{others}",
            "there is no image in it",
            "Unpack it to see what it holds; `convsmith data pack` writes shards of a folder of images.",
        )
    return joined


def _save(folder: Path, facts: dict[str, Any], found: Found) -> None:
    with new_directory(folder) as new:
        for kind in ("images", "masks"):
            for array in _ARRAYS:
                np.save(new / f"{kind}_{array}.npy", getattr(getattr(found, kind), array), allow_pickle=False)
        for name in _OF_SAMPLES:
            np.save(new / f"{name}.npy", getattr(found, name), allow_pickle=False)
        texts = {"names": found.names, "group_names": found.group_names, "others": found.others}
        (new / "facts.json").write_text(json.dumps({**facts, **texts}))


def _load(folder: Path, facts: dict[str, Any]) -> Found | None:
    """Open what was kept; None if it is not there, damaged, or of other shards."""
    with suppress(OSError, ValueError, KeyError, EOFError):
        known = json.loads((folder / "facts.json").read_text())
        if any(known[key] != value for key, value in facts.items()):
            return None

        def array(name: str) -> NDArray[Any]:
            path = folder / f"{name}.npy"
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))

        images, masks = (Packed(*(array(f"{kind}_{it}") for it in _ARRAYS)) for kind in ("images", "masks"))
        labels, weights, groups = map(array, _OF_SAMPLES)
        names, group_names = (tuple(known[name]) for name in ("names", "group_names"))
        found = Found(images, masks, labels, names, weights, groups, group_names, Counter(known["others"]))
        is_whole = all(len(it) == len(found) for it in (images, weights, groups))
        return found if images.places.dtype == PLACE and is_whole else None
    return None
