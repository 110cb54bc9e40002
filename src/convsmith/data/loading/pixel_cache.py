"""Decoded images that are kept, in a file of bounded size that all loader processes of a machine share."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from convsmith.data.dataset import Make
from convsmith.errors import of_system
from convsmith.system import lock, unlock

_VERSION = b"pixels 2"
_HEADER = 64  # bytes
_PLACE = struct.Struct("<qQIII4x")  # of the pixels of a sample: where they are, a CRC-32, and their shape


class PixelCache:
    """Pixels by number. What is in the file is never changed: once it is full, what it lacks is made each time.

    A process that is killed leaves at most a gap; pixels that did not reach the disk are found by their checksum.

    Args:
        descriptor: of a file to read and write, which is closed in the end; another key than its own empties it.
        key: names the images, and what was done with them.
        numbers: from 0 to this, 1 excluded.
        bound: the most bytes that the file may have.
    """

    def __init__(self, descriptor: int, key: str, numbers: int, bound: int) -> None:
        self._file, self._bound = os.fdopen(descriptor, "r+b", buffering=0), bound
        self._first = _HEADER + numbers * _PLACE.size
        header = _VERSION.ljust(_HEADER - 32, b"\0") + sha256(f"{key} {numbers}".encode()).digest()
        with self._locked():
            if os.pread(self._number, _HEADER, 0) != header:
                os.ftruncate(self._number, 0)
                if self._first <= bound:
                    os.pwrite(self._number, header, 0)
                    os.ftruncate(self._number, self._first)

    def keep(self, number: int, make: Make) -> NDArray[np.uint8]:
        """The pixels of a number, made and kept if they were not."""
        kept = self._kept(number)
        if kept is None:
            kept = make()
            with suppress(OSError):  # the disk is full
                self._put(number, kept)
        return kept

    def _kept(self, number: int) -> NDArray[np.uint8] | None:
        told = os.pread(self._number, _PLACE.size, _HEADER + number * _PLACE.size)
        if len(told) < _PLACE.size:
            return None
        place, checksum, *shape = _PLACE.unpack(told)
        if not place:
            return None
        pixels = np.empty(shape, np.uint8)
        read = os.preadv(self._number, [pixels.data.cast("B")], place)
        return pixels if read == pixels.size and crc32(pixels.data) == checksum else None

    def _put(self, number: int, pixels: NDArray[np.uint8]) -> None:
        content = np.ascontiguousarray(pixels)
        with self._locked():
            place = os.fstat(self._number).st_size
            if not content.size or place < self._first or place + content.size > self._bound:
                return
            os.ftruncate(self._number, place + content.size)
        view, written = content.data.cast("B"), 0
        while written < content.size:
            written += os.pwrite(self._number, view[written:], place + written)
        told = _PLACE.pack(place, crc32(content.data), *content.shape)
        os.pwrite(self._number, told, _HEADER + number * _PLACE.size)

    @property
    def _number(self) -> int:
        return self._file.fileno()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let no other process make room meanwhile; the lock of one that is killed is gone."""
        lock(self._number, wait=True, of_process=True)
        try:
            yield
        finally:
            unlock(self._number)


def cache_in_memory(key: str, numbers: int, bound: int) -> PixelCache:
    """A cache that goes with this process, and with those that were forked from it."""
    return PixelCache(os.memfd_create("pixels"), key, numbers, bound)


def cache_on_disk(path: Path, key: str, numbers: int, bound: int) -> PixelCache:
    """A cache that stays. ConvsmithError if the file cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return PixelCache(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), key, numbers, bound)
    except OSError as error:
        raise of_system(error, f"cannot keep decoded images in {path}") from error
