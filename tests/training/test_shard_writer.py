"""Files that several processes write together are those that one would have written."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from convsmith.errors import ConvsmithError
from convsmith.training.checkpoints.checkpoint import read_checkpoint
from convsmith.training.parallel import shard_writer
from convsmith.training.parallel.distributed import joined
from convsmith.training.parallel.shard_writer import ShardWriter, Share, begin_file, write_shares
from tests.training.ranks import run_ranks


def shares_of(rank: int) -> dict[str, Share]:
    """Rows of a float matrix of 5 x 3 over three processes, 2 + 2 + 1, and an integer that is the first one's."""
    rows = torch.arange(15.0).view(5, 3)[2 * rank : 2 * rank + 2]
    count = torch.tensor([7] if rank == 0 else [], dtype=torch.int64)
    return {"matrix": Share(rows.flatten().numpy(), 6 * rank, (5, 3)), "count": Share(count.numpy(), 0, ())}


def test_shares_in_any_order_make_a_file_of_whole_tensors(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    begin_file(file, shares_of(0))
    for rank in (2, 0, 1):
        write_shares(file, shares_of(rank))
    found = load_file(file)
    assert torch.equal(found["matrix"], torch.arange(15.0).view(5, 3))
    assert found["count"].item() == 7
    assert int.from_bytes(file.read_bytes()[:8], "little") % 8 == 0  # so that numbers lie where processors like them


def test_a_set_without_tensors_is_a_file_too(tmp_path: Path) -> None:
    begin_file(tmp_path / "optimizer.safetensors", {})
    write_shares(tmp_path / "optimizer.safetensors", {})
    assert load_file(tmp_path / "optimizer.safetensors") == {}


def write_with_a_full_disk_between(folder: Path) -> list[str]:
    with joined(sharded=True) as world, pytest.MonkeyPatch.context() as patch:
        mesh = init_device_mesh("cpu", (world.size,))
        writer = ShardWriter(folder, keep=3, world=world)
        said = []
        for step in (1, 2, 3):
            whole = torch.full((3, 2), float(step))
            weight = distribute_tensor(whole, mesh, [Shard(0)], src_data_rank=None)
            if step == 2 and world.rank == 1:
                patch.setattr(shard_writer, "write_shares", raise_full)
            writer.save(step, {"model": {"weight": weight}}, {}, best_step=1)
            weight.zero_()  # what is written is what was
            try:
                writer.wait()
            except ConvsmithError as error:
                said.append(str(error))
            patch.undo()
        writer.close()
        return said


def raise_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_share_that_cannot_be_written_is_an_error_of_all_and_no_checkpoint(tmp_path: Path) -> None:
    first, second = run_ranks(2, write_with_a_full_disk_between, tmp_path)
    assert first == second
    assert "the checkpoint of step 2 cannot be written: process 1: [Errno 28] No space left" in first[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last", "step-00000001", "step-00000003"]
    for step in (1, 3):
        weight = read_checkpoint(tmp_path / f"step-0000000{step}").tensors["model"]["weight"]
        assert torch.equal(weight, torch.full((3, 2), float(step)))
