"""Which files a data set has, and the class of each: packed arrays, so that workers share them instead of copying."""

from __future__ import annotations

import hashlib
import os
import time
from array import array
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.decode import check_header, decode_rgb, read_bytes, read_image
from convsmith.data.look import Seen, hash_of_ends

_ASKED_AT_ONCE = 256
# A file system behind a network answers many threads at once; a disk here is asked by one: more would wait for each
# other, and take four times as long.
_ASKING, _SLOW = 16, 50e-6  # threads, and the seconds of an answer from which on they pay


class Index:
    """Files below one folder, each with the number of its class.

    All paths lie in one byte buffer. A worker process that is forked never touches it to count references, and
    pickling it copies three arrays, however many files there are.

    Args:
        root: the folder that the paths are relative to.
        buffer: uint8 `[B]`, the relative paths one after another, as the file system spells them.
        offsets: int64 `[N + 1]`; path i is `buffer[offsets[i]:offsets[i + 1]]`.
        targets: int64 `[N]`.
    """

    def __init__(
        self, root: Path, buffer: NDArray[np.uint8], offsets: NDArray[np.int64], targets: NDArray[np.int64]
    ) -> None:
        self.root = root
        self._buffer, self._offsets, self._targets = buffer, offsets, targets

    def __len__(self) -> int:
        return len(self._targets)

    def __repr__(self) -> str:
        return f"Index({len(self)} files in {printable(self.root)})"

    @property
    def targets(self) -> NDArray[np.int64]:
        """The class number of each file, int64 `[N]`."""
        return self._targets

    def target(self, i: int) -> int:
        """The class number of file i."""
        return int(self._targets[i])

    def path(self, i: int) -> Path:
        """The path of file i, exact to the byte whatever its encoding. IndexError if i is not in 0 to N - 1."""
        if not 0 <= i < len(self):
            raise IndexError(f"file {i} of {len(self)}")
        return self.root / os.fsdecode(self._buffer[self._offsets[i] : self._offsets[i + 1]].tobytes())

    def name(self, i: int) -> str:
        """The path of file i as text."""
        return str(self.path(i))

    def open(self, i: int) -> IO[bytes]:
        """File i, open for reading bytes. OSError if it cannot be."""
        return self.path(i).open("rb")

    def read(self, i: int) -> tuple[Image.Image, int]:
        """File i as Pillow RGB, upright, and its class number. ImageError, which names it, if it cannot be read."""
        path = self.path(i)
        return decode_rgb(read_bytes(path), str(path)), self.target(i)

    def files(self, i: int) -> tuple[Path, ...]:
        """The one file of sample i."""
        return (self.path(i),)

    @property
    def names(self) -> NDArray[np.uint64]:
        """A hash of each relative path, uint64 `[N]`."""
        content, offsets = self._buffer.tobytes(), self._offsets.tolist()
        hashes = (blake2b(content[begin:end], digest_size=8).digest() for begin, end in pairwise(offsets))
        return np.frombuffer(b"".join(hashes), np.uint64)

    @cached_property
    def stats(self) -> NDArray[np.int64]:
        """Size in bytes and time of change in nanoseconds of each file, int64 `[N, 1, 2]`; 0 where there is none."""
        root, content, offsets = os.fsencode(self.root), self._buffer.tobytes(), self._offsets.tolist()
        found = np.zeros((len(self), 1, 2), np.int64)

        def ask(first: int) -> None:
            for i in range(first, min(first + _ASKED_AT_ONCE, len(self))):
                try:
                    status = os.stat(os.path.join(root, content[offsets[i] : offsets[i + 1]]))  # noqa: PTH116, PTH118 - bytes
                except (OSError, ValueError):  # reading it says why
                    continue
                found[i, 0] = status.st_size, status.st_mtime_ns

        start = time.perf_counter()
        ask(0)
        is_slow = time.perf_counter() - start > _ASKED_AT_ONCE * _SLOW
        with ThreadPoolExecutor(_ASKING if is_slow else 1) as pool:
            list(pool.map(ask, range(_ASKED_AT_ONCE, len(self), _ASKED_AT_ONCE)))
        return found

    def look(self, i: int, decode: bool) -> Seen:
        """The size of file i, or an ImageError if it is no image that can be read: all of it, or its header."""
        path = self.path(i)
        width, height = read_image(path).shape[1::-1] if decode else check_header(path)
        return Seen(height, width, (hash_of_ends(path),))

    def digest(self) -> str:
        """SHA-256 of the relative paths and targets in their order: names the data set wherever it lies."""
        content = hashlib.sha256()
        for part in (self._buffer, self._offsets, self._targets):
            content.update(part.tobytes())
        return content.hexdigest()

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Index:
        """The files at `indices` (int `[M]`, each in 0 to N - 1), in that order, as a new index."""
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.size and (chosen.min() < 0 or chosen.max() >= len(self)):
            raise IndexError(f"indices reach from {chosen.min()} to {chosen.max()}, of {len(self)} files")
        starts = self._offsets[chosen]
        lengths = self._offsets[chosen + 1] - starts
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        buffer = np.empty(offsets[-1], np.uint8)
        chunk = 1 << 16  # bounds the memory of the 8-byte gather positions
        for first in range(0, len(chosen), chunk):
            part = slice(first, first + chunk)
            begin, end = offsets[first], offsets[min(first + chunk, len(chosen))]
            shifts = np.repeat(starts[part] - offsets[:-1][part], lengths[part])
            buffer[begin:end] = self._buffer[np.arange(begin, end) + shifts]
        selected = Index(self.root, buffer, offsets, self._targets[chosen])
        if "stats" in self.__dict__:
            selected.stats = self.stats[chosen]
        return selected


class IndexBuilder:
    """Collects relative paths class by class and packs them into an `Index`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._buffer = bytearray()
        self._offsets = array("q", [0])
        self._targets = array("q")

    def add(self, target: int, names: Iterable[bytes]) -> None:
        """Append files of class `target`; `names` are paths relative to the root, as the file system spells them."""
        for name in names:
            self._buffer += name
            self._offsets.append(len(self._buffer))
            self._targets.append(target)

    def build(self) -> Index:
        """The index of all files added, in the order of adding."""
        return Index(
            self._root,
            np.frombuffer(self._buffer, np.uint8),
            np.frombuffer(self._offsets, np.int64),
            np.frombuffer(self._targets, np.int64),
        )


def printable(path: Path | bytes | str) -> str:
    r"""The path as text that any terminal, log and JSON file can hold: bytes that are not UTF-8 become `\udcXX`."""
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode("utf-8")
