"""The contents of images and masks that a Python program holds, as the bytes of files."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.data.contents import Content


class Items(Protocol):
    """Things in a fixed order, each found by its place."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> Any: ...


@dataclass(frozen=True)
class _All:
    """All that there are of a split, each named by its kind and number."""

    items: Items
    kind: str

    def content(self, number: int) -> Content:
        item = self.items[number]
        if isinstance(item, str | os.PathLike):
            return Content.of_file(Path(item))
        name = f"{self.kind} {number}"
        return Content(name, lambda: (_mask_file_of if self.kind.endswith("mask") else _file_of)(item, name))

    @cached_property
    def stats(self) -> NDArray[np.int64]:
        """The size, and in place of a time a hash of all bytes: what is held has no other identity."""
        return np.array([_identity(self.content(i)) for i in range(len(self.items))], np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class Pictures:
    """`Contents` of images that Python holds: all bytes are read once, whatever is selected."""

    whole: _All
    numbers: NDArray[np.int64]
    shards: None = None
    weights: None = None
    groups: None = None

    @classmethod
    def all_of(cls, items: Items, kind: str) -> Pictures:
        """All items, each named by its kind and number in messages."""
        return cls(_All(items, kind), np.arange(len(items), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> Content:
        return self.whole.content(int(self.numbers[i]))

    @property
    def key(self) -> tuple[NDArray[np.generic], ...]:
        """Arrays that name them."""
        return (self.names, self.stats)

    @cached_property
    def names(self) -> NDArray[np.uint64]:
        """A hash of each name."""
        digests = (blake2b(f"{self.whole.kind} {number}".encode(), digest_size=8).digest() for number in self.numbers)
        return np.frombuffer(b"".join(digests), np.uint64)

    @property
    def stats(self) -> NDArray[np.int64]:
        """The size and a hash of all bytes of each, [N, 2]."""
        return self.whole.stats[self.numbers]

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Pictures:
        """Some of them, by their places."""
        return Pictures(self.whole, self.numbers[np.asarray(indices, np.int64)])


def _identity(content: Content) -> tuple[int, int]:
    try:
        with content.open() as file:
            data = file.read()
    except (OSError, ValueError):  # who reads it says what is wrong
        return 0, 0
    return len(data), int.from_bytes(blake2b(data, digest_size=8).digest(), "little", signed=True)


def _mask_file_of(item: Any, name: str) -> IO[bytes]:
    """The bytes of a mask file with the pixels of an item, which may be whole numbers of any type `[H, W]`."""
    values = item.detach().cpu().numpy() if hasattr(item, "detach") else item
    if isinstance(values, np.ndarray) and values.dtype.kind in "iub" and values.dtype != np.uint8:
        return _array_file(values[0] if values.ndim == 3 and len(values) == 1 else values)
    return _file_of(item, name)


def _array_file(values: NDArray[Any]) -> IO[bytes]:
    """The bytes of a file of NumPy."""
    file = io.BytesIO()
    np.save(file, values)
    file.seek(0)
    return file


def _file_of(item: Any, name: str) -> IO[bytes]:
    """The bytes of an image file with the pixels of an item."""
    if isinstance(item, bytes | bytearray | memoryview):
        return io.BytesIO(item)
    if hasattr(item, "detach"):  # a tensor
        item = item.detach().cpu().numpy()
        item = item.transpose(1, 2, 0) if item.ndim == 3 else item
    if isinstance(item, np.ndarray):
        item = item[..., 0] if item.ndim == 3 and item.shape[2] == 1 else item
        if item.dtype.kind not in "uif" or item.ndim not in (2, 3):
            raise ValueError(f"it is an array {list(item.shape)} of {item.dtype}, not numbers [H, W] or [H, W, C]")
        if item.dtype != np.uint8 or item.shape[2:] not in ((), (3,)):  # data.channels and preprocess.range say more
            return _array_file(item)
        item = Image.fromarray(np.ascontiguousarray(item))
    if not isinstance(item, Image.Image):
        raise ValueError(f"{name} is a {type(item).__name__}, not an image")
    file = io.BytesIO()
    item.save(file, "PNG", compress_level=0)
    file.seek(0)
    return file
