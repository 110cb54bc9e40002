"""Images in class folders, packed as they are found; where that takes long, by several processes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convsmith.data.folders.nesting import Inside, inside_of
from convsmith.data.folders.scan import images_below, note_places, places_noted
from convsmith.data.loading.processes import in_processes
from convsmith.data.split import Share
from convsmith.machine import available_cores

_ALONE = 1.0  # seconds, in which most data are read; processes take about as long to start
_CHUNKS = 16  # of each process, at least, so that all end at about the same time
_MOST = 32  # folders in a chunk

Packed = tuple[NDArray[np.uint8], NDArray[np.int32]]
"""Paths one after another, and the bytes of each."""


@dataclass(frozen=True)
class ClassFiles:
    """The images in one class folder, by their paths relative to the data folder, sorted by the bytes of these.

    Attributes:
        packed: the paths.
        ranked: the number of each, in the order of a hash of its path, int32 `[N]`; None where it was not asked for.
        others: files that are not images, by kind.
        inside: how they lie in it.
    """

    packed: Packed
    ranked: NDArray[np.int32] | None
    others: Counter[str]
    inside: Inside

    def __len__(self) -> int:
        return len(self.packed[1])

    def split(self, share: Share, before: int) -> tuple[Packed, Packed]:
        """Those to train on and those held out, as `split_files` has it."""
        assert self.ranked is not None
        buffer, lengths = self.packed
        held_out = np.zeros(len(self), bool)
        held_out[self.ranked[share.ranks(len(self), before)]] = True
        of_bytes = np.repeat(held_out, lengths)
        return (buffer[~of_bytes], lengths[~held_out]), (buffer[of_bytes], lengths[held_out])


def read_classes(root: Path, folders: Sequence[str], suffixes: Collection[str], ranked: bool) -> Generator[ClassFiles]:
    """The images in each of some folders of a data folder, in their order. Whoever does not take all closes it.

    Raises:
        ConvsmithError: a folder cannot be read.
    """
    start, done = time.monotonic(), 0
    while done < len(folders) and time.monotonic() - start < _ALONE:
        yield _read(root, folders[done], suffixes, ranked)
        done += 1
    rest = folders[done:]
    if (count := min(available_cores(), len(rest))) < 2:
        yield from (_read(root, folder, suffixes, ranked) for folder in rest)
        return
    size = max(1, min(_MOST, len(rest) // (count * _CHUNKS)))
    chunks = [rest[first : first + size] for first in range(0, len(rest), size)]
    with closing(in_processes(read_chunk, chunks, lambda chunk: (root, chunk, suffixes, ranked), count)) as found:
        for read, listed in found:
            note_places(listed)
            yield from read


def read_chunk(
    root: Path, folders: Sequence[str], suffixes: Collection[str], ranked: bool
) -> tuple[list[ClassFiles], list[Path]]:
    """The images in some class folders, and all folders that were read for them: what a process of its own does."""
    with places_noted() as listed:
        return [_read(root, folder, suffixes, ranked) for folder in folders], listed


def _read(root: Path, folder: str, suffixes: Collection[str], ranked: bool) -> ClassFiles:
    others: Counter[str] = Counter()
    names = images_below(root, folder, others, suffixes)
    lengths = np.fromiter(map(len, names), np.int32, len(names))
    ranks = _ranked(names) if ranked else None
    return ClassFiles((np.frombuffer(b"".join(names), np.uint8), lengths), ranks, others, inside_of(folder, names))


def _ranked(names: Sequence[bytes]) -> NDArray[np.int32]:
    """The numbers of sorted names in the order of their hashes; names of the same hash stay in theirs."""
    hashes = b"".join([blake2b(name, digest_size=8).digest() for name in names])
    return np.argsort(np.frombuffer(hashes, ">u8"), kind="stable").astype(np.int32)
