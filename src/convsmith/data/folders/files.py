"""Files below a folder, however many, as packed arrays."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from convsmith.data.contents import Content
from convsmith.data.group_split import Groups
from convsmith.waiting import answer_of

Unit = TypeVar("Unit", np.uint8, np.int32)

_AT_ONCE = 1 << 16  # texts
_ASKED_AT_ONCE = 256
# A file system behind a network answers many threads at once; a disk here is asked by one: more would wait for each
# other, and take four times as long.
_ASKING, _SLOW = 16, 50e-6  # threads, and the seconds of an answer from which on they pay


class Files:
    """The `Contents` of files below one folder.

    All paths lie in one byte buffer. A worker process that is forked never touches it to count references, and
    pickling it copies two arrays, however many files there are.

    Args:
        root: the folder that the paths are relative to.
        buffer: uint8 `[B]`, the relative paths one after another, as the file system spells them.
        offsets: int64 `[N + 1]`; path i is `buffer[offsets[i]:offsets[i + 1]]`.
        groups: the group of each; None where they are of none.
    """

    shards: None = None  # each lies alone
    weights: None = None

    def __init__(
        self, root: Path, buffer: NDArray[np.uint8], offsets: NDArray[np.int64], groups: Groups | None = None
    ) -> None:
        self.root, self.groups = root, groups
        self._buffer, self._offsets = buffer, offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, i: int) -> Content:
        return Content.of_file(self.path(i))

    def path(self, i: int) -> Path:
        """The path of file i, exact to the byte whatever its encoding. IndexError if i is not in 0 to N - 1."""
        return self.root / os.fsdecode(self.relative(i))

    def relative(self, i: int) -> bytes:
        """The path of file i below the root, as the file system spells it. IndexError if i is not in 0 to N - 1."""
        if not 0 <= i < len(self):
            raise IndexError(f"file {i} of {len(self)}")
        return self._buffer[self._offsets[i] : self._offsets[i + 1]].tobytes()

    @property
    def key(self) -> tuple[NDArray[np.generic], ...]:
        """The relative paths."""
        return self._buffer, self._offsets

    @property
    def names(self) -> NDArray[np.uint64]:
        """A hash of each relative path, uint64 `[N]`."""
        hashes = bytearray()  # join would make a list of them first
        for text in each_text(self._buffer, self._offsets):
            hashes += blake2b(text, digest_size=8).digest()
        return np.frombuffer(hashes, np.uint64)

    @cached_property
    def stats(self) -> NDArray[np.int64]:
        """Size in bytes and time of change in nanoseconds of each file, int64 `[N, 2]`; 0 where there is none."""
        root, found = os.fsencode(self.root), np.zeros((len(self), 2), np.int64)

        def ask(first: int) -> None:
            for i, path in enumerate(each_text(self._buffer, self._offsets[first : first + _ASKED_AT_ONCE + 1]), first):
                try:
                    status = os.stat(os.path.join(root, path))  # noqa: PTH116, PTH118 - bytes
                except (OSError, ValueError):  # reading it says why
                    continue
                found[i] = status.st_size, status.st_mtime_ns

        def ask_in_time(first: int) -> None:
            answer_of(lambda: ask(first), f"one of {_ASKED_AT_ONCE} files from {self[first].name} on")

        if not len(self):
            return found
        start = time.perf_counter()
        ask_in_time(0)
        is_slow = time.perf_counter() - start > _ASKED_AT_ONCE * _SLOW
        with ThreadPoolExecutor(_ASKING if is_slow else 1) as pool:
            try:
                for _ in pool.map(ask_in_time, range(_ASKED_AT_ONCE, len(self), _ASKED_AT_ONCE)):
                    pass
            finally:
                pool.shutdown(cancel_futures=True)
        return found

    def folders(self) -> Iterator[Path]:
        """The folders that the files lie in, each once."""
        names = {text.rpartition(b"/")[0] for text in each_text(self._buffer, self._offsets)}
        return (self.root / os.fsdecode(name) for name in names)

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Files:
        """The files at `indices` (int `[M]`, each in 0 to N - 1), in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.size and (chosen.min() < 0 or chosen.max() >= len(self)):
            raise IndexError(f"indices reach from {chosen.min()} to {chosen.max()}, of {len(self)} files")
        groups = None if self.groups is None else self.groups.select(chosen)
        selected = Files(self.root, *select_texts(self._buffer, self._offsets, chosen), groups)
        if "stats" in self.__dict__:
            selected.stats = self.stats[chosen]
        return selected


class FilesBuilder:
    """Collects relative paths, as the file system spells them, and packs them into `Files`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._buffer = bytearray()
        self._offsets = array("q", [0])

    def add(self, name: bytes) -> None:
        """Append a file by its path relative to the root."""
        self._buffer += name
        self._offsets.append(len(self._buffer))

    def add_packed(self, buffer: NDArray[np.uint8], lengths: NDArray[np.int32]) -> None:
        """Append files by their paths one after another, and the bytes of each."""
        ends = np.cumsum(lengths, dtype=np.int64) + len(self._buffer)
        self._buffer += buffer.data
        self._offsets.frombytes(ends.tobytes())

    def build(self) -> Files:
        """All files added, in the order of adding."""
        return Files(self._root, np.frombuffer(self._buffer, np.uint8), np.frombuffer(self._offsets, np.int64))


def each_text(buffer: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Iterator[bytes]:
    """The texts in a buffer between offsets, int64 `[M + 1]`, without a list of all, which takes ten times as much."""
    for first in range(0, len(offsets) - 1, _AT_ONCE):
        part = offsets[first : first + _AT_ONCE + 1]
        content, places = buffer[part[0] : part[-1]].tobytes(), (part - part[0]).tolist()
        yield from (content[begin:end] for begin, end in pairwise(places))


def select_texts(
    buffer: NDArray[Unit], offsets: NDArray[np.int64], chosen: NDArray[np.int64]
) -> tuple[NDArray[Unit], NDArray[np.int64]]:
    """The texts, or lists of numbers, at `chosen`, int64 `[M]`, of those in a buffer, packed like them."""
    starts = offsets[chosen]
    lengths = offsets[chosen + 1] - starts
    new_offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    new_buffer = np.empty(new_offsets[-1], buffer.dtype)
    chunk = 1 << 16  # bounds the memory of the 8-byte gather positions
    for first in range(0, len(chosen), chunk):
        part = slice(first, first + chunk)
        begin, end = new_offsets[first], new_offsets[min(first + chunk, len(chosen))]
        shifts = np.repeat(starts[part] - new_offsets[:-1][part], lengths[part])
        new_buffer[begin:end] = buffer[np.arange(begin, end) + shifts]
    return new_buffer, new_offsets
