"""Images in the cells of data sets of Hugging Face, as the bytes that they were written as."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from convsmith.data.contents import Content

_AT_ONCE = 1000  # rows


@dataclass(frozen=True)
class Column:
    """All cells of a column of images.

    Attributes:
        name: of the column.
        parts: the data sets that have it, one after another, with this column alone, undecoded.
        splits: what each is called.
    """

    name: str
    parts: tuple[Any, ...]
    splits: tuple[str, ...]

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """The number of the first cell behind each part, int64 `[S]`."""
        return np.cumsum([len(part) for part in self.parts])

    def open(self, number: int) -> IO[bytes]:
        """The image in a cell. OSError or ValueError if there is none."""
        part = int(np.searchsorted(self.ends, number, side="right"))
        cell = self.parts[part][number - int(self.ends[part]) + len(self.parts[part])][self.name]
        if cell is None or (cell["bytes"] is None and cell["path"] is None):
            raise ValueError("the cell is empty")
        return io.BytesIO(cell["bytes"]) if cell["bytes"] is not None else Path(cell["path"]).open("rb")

    @cached_property
    def stats(self) -> NDArray[np.int64]:
        """The size of each image, and when its file was changed, int64 `[N, 2]`; 0 where there is none."""
        return np.concatenate([self._stats_of(part) for part in self.parts])

    def _stats_of(self, part: Any) -> NDArray[np.int64]:
        times = [Path(file["filename"]).stat().st_mtime_ns for file in part.cache_files]
        found = np.zeros((len(part), 2), np.int64)
        start = 0
        import pyarrow.compute as pc

        for batch in part.with_format("arrow").iter(_AT_ONCE):
            cells = batch.column(self.name).combine_chunks()
            sizes = pc.binary_length(pc.struct_field(cells, "bytes"))
            rows = found[start : start + len(sizes)]
            rows[:, 0], rows[:, 1] = pc.fill_null(sizes, 0).to_numpy(), max(times, default=1)
            for i in np.flatnonzero(pc.is_null(sizes).to_numpy(zero_copy_only=False)):
                rows[i] = _identity(pc.struct_field(cells, "path")[int(i)].as_py())
            start += len(sizes)
        return found


def _identity(path: str | None) -> tuple[int, int]:
    try:
        status = Path(path or "").stat()
    except (OSError, ValueError):  # opening it says why
        return 0, 0
    return (status.st_size, status.st_mtime_ns) if path else (0, 0)


@dataclass(frozen=True)
class Cells:
    """The `Contents` of some cells of a column."""

    column: Column
    numbers: NDArray[np.int64]

    shards: None = None
    weights: None = None
    groups: None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> Content:
        number = int(self.numbers[i])
        return Content(f"`{self.column.name}`", lambda: self.column.open(number))

    @property
    def key(self) -> tuple[NDArray[np.generic], ...]:
        """A hash of what names each, and its size."""
        return self.names, self.stats[:, 0]

    @property
    def names(self) -> NDArray[np.uint64]:
        """A hash of the split and the row of each."""
        ends, parts = self.column.ends, self.column.parts
        of = np.searchsorted(ends, self.numbers, side="right")
        rows = self.numbers - np.array([end - len(part) for end, part in zip(ends, parts, strict=True)], np.int64)[of]
        words = (f"{self.column.splits[part]} {row}".encode() for part, row in zip(of, rows, strict=True))
        return np.frombuffer(b"".join(blake2b(word, digest_size=8).digest() for word in words), np.uint64)

    @property
    def stats(self) -> NDArray[np.int64]:
        """The size of each, and when the file that holds it was changed."""
        return self.column.stats[self.numbers]

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Cells:
        """Those at `indices`, in that order."""
        return Cells(self.column, self.numbers[np.asarray(indices, np.int64)])
