"""Checkpoints that several processes write together, each its share; their files are those of one process."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor
from torch import distributed as dist

from convsmith.launch.world import World
from convsmith.training.checkpoints.checkpoint import new_checkpoint, tidy
from convsmith.training.checkpoints.writer import CheckpointWriter
from convsmith.training.parallel.distributed import broadcast, gather
from convsmith.training.parallel.shares import is_shared_out, kept

_DTYPES = {"float64": "F64", "float32": "F32", "int64": "I64", "uint8": "U8", "bool": "BOOL"}


@dataclass(frozen=True)
class Share:
    """Consecutive values of a tensor.

    Attributes:
        values: one after another; an array, because the writer's thread computes nothing with torch.
        first: index of the first one in the whole tensor.
        shape: the whole tensor's.
    """

    values: NDArray[Any]
    first: int
    shape: tuple[int, ...]


class ShardWriter(CheckpointWriter):
    """Writes like CheckpointWriter, by all processes at once, into a folder that all of them see.

    Args:
        folder: the run's checkpoint folder.
        keep: how many of the newest stay.
        world: the processes; all make a writer at the same time.
    """

    def __init__(self, folder: Path, keep: int, world: World) -> None:
        super().__init__(folder, keep)
        self._world = world
        # The thread's messages must not mix with those of the training.
        group = dist.new_group(backend="gloo", timeout=world.timeout)
        assert isinstance(group, dist.ProcessGroup)
        self._group = group

    def save(
        self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], best_step: int | None
    ) -> None:
        """Begin to write what is given, as it is now; what is not shared out is the first process's."""
        self.wait()
        shares = {
            name: {key: share_of(value, self._world) for key, value in values.items()}
            for name, values in tensors.items()
        }

        def write() -> None:
            if not self._world.leads:
                self._write_together(shares, None)
                return
            with new_checkpoint(self._folder, step, state) as place:
                for name, values in shares.items():
                    begin_file(place / f"{name}.safetensors", values)
                self._write_together(shares, place)
            tidy(self._folder, best_step, self._keep)

        self._begin(step, write)

    def _write_together(self, shares: Mapping[str, Mapping[str, Share]], place: Path | None) -> None:
        place = broadcast(self._world, place, self._group)
        assert place is not None
        error = None
        try:
            for name, values in shares.items():
                write_shares(place / f"{name}.safetensors", values)
        except OSError as reason:
            error = f"process {self._world.rank}: {reason}"
        errors = [it for it in gather(self._world, error, self._group) if it is not None]
        if errors:
            raise OSError(errors[0])


def share_of(tensor: Tensor, world: World) -> Share:
    """A copy of what this process has to write of a tensor."""
    tensor = tensor.detach()
    values, first = kept(tensor), 0
    if is_shared_out(tensor):
        rows = -(-len(tensor) // world.size)
        first = min(rows * world.rank, len(tensor)) * math.prod(tensor.shape[1:])
    elif not world.leads:
        values = values.flatten()[:0]
    return Share(values.cpu().numpy().flatten(), first, tuple(tensor.shape))


def begin_file(path: Path, shares: Mapping[str, Share]) -> None:
    """Make a file in the format of safetensors that has everything but the values."""
    header, starts = _layout(shares)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(max((starts[key] + _bytes(share) for key, share in shares.items()), default=len(header)))


def write_shares(path: Path, shares: Mapping[str, Share]) -> None:
    """Put values into a file that `begin_file` has made of shares of the same tensors."""
    _, starts = _layout(shares)
    with path.open("r+b") as file:
        for key, share in shares.items():
            file.seek(starts[key] + share.first * share.values.itemsize)
            file.write(share.values.data)
        file.flush()
        os.fsync(file.fileno())


def _layout(shares: Mapping[str, Share]) -> tuple[bytes, dict[str, int]]:
    """How the file begins, and where in it each tensor does; like safetensors, with the largest numbers first."""
    entries, offsets, end = {}, {}, 0
    for key in sorted(shares, key=lambda key: (-shares[key].values.itemsize, key)):
        share = shares[key]
        offsets[key], end = end, end + _bytes(share)
        place = [offsets[key], end]
        entries[key] = {"dtype": _DTYPES[share.values.dtype.name], "shape": share.shape, "data_offsets": place}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)  # numbers of 8 bytes begin at multiples of 8
    header = struct.pack("<Q", len(text)) + text
    return header, {key: len(header) + offset for key, offset in offsets.items()}


def _bytes(share: Share) -> int:
    """Bytes of the whole tensor."""
    return math.prod(share.shape) * share.values.itemsize
