"""Members of tar shards as contents: read where they lie in their archive."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from convsmith.data.contents import Content
from convsmith.data.folders.files import each_text
from convsmith.data.group_split import Groups
from convsmith.data.shards.shard_paths import ShardPaths
from convsmith.data.shards.shard_samples import Packed
from convsmith.errors import printable
from convsmith.system import will_need

_AHEAD = 2**21  # bytes


@dataclass(frozen=True)
class Members:
    """The `Contents` of members of shards.

    Attributes:
        paths: the shards.
        shard_stats: size in bytes and time of change in nanoseconds of each shard as it was when its index was made.
        packed: the members.
        also: what else tells these members from others, such as the names of their classes.
        weights: how often each is drawn beside others, float64 `[N]`, NaN where nothing says it; None where that is of
            none.
        groups: the group of each; None where they are of none.
    """

    paths: ShardPaths
    shard_stats: NDArray[np.int64]
    packed: Packed
    also: bytes = b""
    weights: NDArray[np.float64] | None = None
    groups: Groups | None = None

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, i: int) -> Content:
        if not 0 <= i < len(self):
            raise IndexError(f"member {i} of {len(self)}")
        shard = self.paths.name(self.packed.places["shard"][i])
        return Content(f"{shard}: {printable(self.packed.name(i))}", lambda: self._open(i))

    def _open(self, i: int) -> IO[bytes]:
        shard, offset, size = self.packed.places[i].tolist()
        file = self.paths.open(shard)
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != tuple(self.shard_stats[shard].tolist()):
            file.close()
            raise OSError(errno.ESTALE, "its shard has changed since its index was made")
        # what lies around it is needed soon, and a disk gives large pieces faster
        will_need(file.fileno(), offset - offset % _AHEAD, _AHEAD)
        return io.BufferedReader(_Part(file, offset, size))

    @property
    def key(self) -> tuple[NDArray[np.generic], ...]:
        """The paths of the shards below their root, shard, name and weight of each member, and what else there is."""
        names = np.frombuffer("\0".join(self.paths.names()).encode("utf-8", "surrogateescape"), np.uint8)
        return (
            names,
            np.ascontiguousarray(self.packed.places["shard"]),
            self.packed.buffer,
            self.packed.offsets,
            *([] if self.weights is None else [self.weights]),
            np.frombuffer(self.also, np.uint8),
        )

    @property
    def names(self) -> NDArray[np.uint64]:
        """A hash of the shard's path below the root and of the name of each member."""
        shards = [os.fsencode(name) + b"\0" for name in self.paths.names()]
        texts = each_text(self.packed.buffer, self.packed.offsets)
        hashes = bytearray()
        for shard, text in zip(self.packed.places["shard"], texts, strict=True):
            hashes += blake2b(shards[shard] + text, digest_size=8).digest()
        return np.frombuffer(hashes, np.uint64)

    @cached_property
    def stats(self) -> NDArray[np.int64]:
        """Size of each member, and time of change of its shard."""
        return np.stack([self.packed.places["size"], self.shard_stats[self.packed.places["shard"], 1]], axis=1).astype(
            np.int64
        )

    @property
    def shards(self) -> NDArray[np.int32]:
        """The number of the shard of each."""
        shards: NDArray[np.int32] = self.packed.places["shard"]
        return shards

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the shards that they lie in, and not all others."""
        used, numbers = np.unique(self.packed.places["shard"], return_inverse=True)
        places = self.packed.places.copy()
        places["shard"] = numbers
        packed = Packed(places, self.packed.buffer, self.packed.offsets)
        of = self.paths.select(used.tolist()), self.shard_stats[used]
        return Members, (*of, packed, self.also, self.weights, self.groups)

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Members:
        """The members at `indices`, in that order."""
        chosen = np.asarray(indices, np.int64)
        weights = None if self.weights is None else self.weights[chosen]
        groups = None if self.groups is None else self.groups.select(chosen)
        return replace(self, packed=self.packed.select(chosen), weights=weights, groups=groups)


class _Part(io.RawIOBase):
    """A part of an open file, which is closed with it, as a file that can be wound back."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        self._file.seek(self._offset + self._at)
        count: int = self._file.readinto(room)  # type: ignore[attr-defined]
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
