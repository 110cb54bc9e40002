"""Bytes that lie anywhere, each with a name: files of a folder, members of an archive, cells of a table."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.bands import read_header
from convsmith.bundle.images.open_image import Header
from convsmith.bundle.images.read_bytes import file_errors, read_open
from convsmith.data.group_split import Groups
from convsmith.spec import RGB, Bands
from convsmith.waiting import answer_of, open_file

T = TypeVar("T")

_END = 4096  # bytes; a compressed picture with the same ones at both ends, and the same size, is the same
_COMPARED_AT_ONCE = 2**16  # bytes


@dataclass(frozen=True)
class Content:
    """One of them.

    Attributes:
        name: what messages call it.
        open: gives it as a file for reading bytes, which can be wound back. OSError or ValueError where that fails.

    Each way of reading raises NotAnswering where nothing comes for `read_timeout`.
    """

    name: str
    open: Callable[[], IO[bytes]]

    @classmethod
    def of_file(cls, path: Path) -> Content:
        """The content of a file."""
        return cls(str(path), lambda: open_file(path))

    def read(self) -> bytes:
        """All of it, at most `MAX_BYTES`. ImageError, which names it, if it cannot be read."""
        with file_errors(self.name):
            return self._of_open(lambda file: read_open(file, self.name))

    def check_header(self, bands: Bands = RGB) -> tuple[int, int]:
        """The width and height of the image that it is, see `check_header`. ImageError as far as its header tells."""
        return self.header(bands)[:2]

    def header(self, bands: Bands = RGB) -> Header:
        """The header of the image that it is. ImageError as far as that tells."""
        with file_errors(self.name):
            return self._of_open(lambda file: read_header(file, self.name, bands))

    def hash_of_ends(self) -> int:
        """A 64-bit hash of the size and of the first and last 4 KiB. OSError or ValueError if it cannot be read."""
        size, ends = self._of_open(_ends)
        return int.from_bytes(blake2b(size.to_bytes(8, "little") + ends, digest_size=8).digest(), "little")

    def equals(self, other: Content) -> bool:
        """Whether the other one holds the same bytes; not if one of them cannot be read."""

        def equal() -> bool:
            with self.open() as one, other.open() as two:
                while (chunk := one.read(_COMPARED_AT_ONCE)) == two.read(_COMPARED_AT_ONCE):
                    if not chunk:
                        return True
            return False

        with suppress(OSError, ValueError):
            return answer_of(equal, self.name)
        return False

    def _of_open(self, read: Callable[[IO[bytes]], T]) -> T:
        """Return what `read` makes of the open file. NotAnswering, if nothing comes for long."""

        def of_open() -> T:
            with self.open() as file:
                return read(file)

        return answer_of(of_open, self.name)


def _ends(file: IO[bytes]) -> tuple[int, bytes]:
    """The size, and the bytes at both ends."""
    ends = file.read(_END)
    size = file.seek(0, os.SEEK_END)
    if size > _END:
        file.seek(max(_END, size - _END))
        ends += file.read(_END)
    return size, ends


class Contents(Protocol):
    """Many of them in a fixed order, packed into arrays, so that workers share them instead of copying."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> Content:
        """The content at i. IndexError if i is not in 0 to N - 1."""

    @property
    def key(self) -> tuple[NDArray[np.generic], ...]:
        """Arrays that name them, wherever they lie: the same arrays, the same contents in the same order."""

    @property
    def names(self) -> NDArray[np.uint64]:
        """A hash of what names each of them, uint64 `[N]`."""

    @property
    def stats(self) -> NDArray[np.int64]:
        """Size in bytes and time of change in nanoseconds of each, int64 `[N, 2]`; 0 where it is not there."""

    @property
    def shards(self) -> NDArray[np.int32] | None:
        """The number of the archive that each lies in, int32 `[N]`; None where each lies alone."""

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """How often each is drawn beside others, float64 `[N]`, NaN where nothing says it; None where it is of none."""

    @property
    def groups(self) -> Groups | None:
        """The group of each; None where they are of none."""

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Contents:
        """Those at `indices`, in that order."""


def digest_of(contents: Contents, targets: NDArray[np.int64]) -> str:
    """SHA-256 of what names the contents, and of a number for each."""
    found = hashlib.sha256()
    for part in (*contents.key, targets):
        found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()
