"""Batches go from the processes that load them to the main one through memory that both of them keep.

torch shares new memory for each batch, whose pages are cleared, mapped and given back: that takes longer than copying.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

AHEAD = 2  # batches that each process loads before they are asked for, and the rooms that they lie in
_ALIGNED = 64  # bytes


class _Place(NamedTuple):
    """The place of a tensor in a room."""

    first: int
    bytes: int
    dtype: torch.dtype
    size: torch.Size
    strides: tuple[int, ...]

    def write(self, room: Tensor, value: Tensor) -> None:
        room[self.first : self.first + self.bytes].view(self.dtype).as_strided(self.size, self.strides).copy_(value)

    def copy(self, room: Tensor) -> Tensor:
        own = room[self.first : self.first + self.bytes].clone()
        return own.view(self.dtype).as_strided(self.size, self.strides)


class HandOver:
    """Moves batches into shared memory, in a process that loads them. It is the `collate_fn` of a loader.

    What it makes of a named tuple with tensors among its values is pickled as the place where these lie, and unpickled,
    in the main process, as the tuple. torch lets a process begin a batch when the main one has unpickled the
    `AHEAD`-th before it, so no room is filled while it is read.
    """

    def __init__(self) -> None:
        self._rooms = [torch.empty(0, dtype=torch.uint8)] * AHEAD
        self._batches = 0

    def __call__(self, batch: Any) -> Any:
        """Return anything but a tuple as it is. RuntimeError, here and not in torch's thread, if there is no memory."""
        if not isinstance(batch, tuple):
            return batch
        number, self._batches = self._batches % AHEAD, self._batches + 1
        values, end = list[Any](), _ALIGNED
        for value in batch:
            if isinstance(value, Tensor):
                strides = torch.empty_like(value, device="meta").stride()  # those of its layout without gaps
                values.append(_Place(end, value.numel() * value.itemsize, value.dtype, value.size(), strides))
                end += -(-values[-1].bytes // _ALIGNED) * _ALIGNED
            else:
                values.append(value)
        is_new = self._rooms[number].numel() < end
        if is_new:
            self._rooms[number] = torch.empty(end, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
        for place, value in zip(values, batch, strict=True):
            if isinstance(value, Tensor):
                place.write(self._rooms[number], value)
        return _HandedOver(type(batch), values, number, self._rooms[number] if is_new else None)


class _HandedOver:
    def __init__(self, kind: type, values: list[Any], number: int, new_room: Tensor | None) -> None:
        self._taken = (kind, values, (os.getpid(), number), new_room)

    def __reduce__(self) -> tuple[Any, ...]:
        return _take, self._taken


_rooms: dict[tuple[int, int], Tensor] = {}  # of processes that load for this one, by their numbers


def _take(kind: Any, values: list[Any], name: tuple[int, int], new_room: Tensor | None) -> Any:
    """Copy a batch out of its room."""
    if new_room is not None:
        _rooms[name] = new_room
    return kind(*(value.copy(_rooms[name]) if isinstance(value, _Place) else value for value in values))


def forget_rooms(processes: Iterable[int | None]) -> None:
    """Give back the memory that processes have shared which have ended."""
    ended = {*processes}
    for name in [name for name in _rooms if name[0] in ended]:
        del _rooms[name]
