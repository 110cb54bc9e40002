"""Checkpoints are written beside the training, and say what was when they were asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from convsmith.errors import ConvsmithError
from convsmith.training.checkpoints.checkpoint import latest_checkpoint
from convsmith.training.checkpoints.writer import CheckpointWriter


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Writes wait until it is set."""
    free = threading.Event()

    def save_slowly(tensors: dict[str, Tensor], file: Path) -> None:
        assert free.wait(60)
        save_file(tensors, file)

    monkeypatch.setattr("convsmith.training.checkpoints.checkpoint.save_file", save_slowly)
    return free


def test_what_is_written_does_not_change_with_the_training(tmp_path: Path, slow_disk: threading.Event) -> None:
    writer, weight = CheckpointWriter(tmp_path, keep=2), torch.zeros(3)
    writer.save(1, {"model": {"weight": weight}}, {"epoch": 0}, None)
    weight += 1  # while nothing is on the disk yet
    assert latest_checkpoint(tmp_path) is None
    slow_disk.set()
    writer.wait()
    checkpoint = latest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.tensors["model"]["weight"].tolist() == [0, 0, 0]


def test_one_is_written_after_the_other(tmp_path: Path, slow_disk: threading.Event) -> None:
    writer = CheckpointWriter(tmp_path, keep=2)
    slow_disk.set()
    for step in (1, 2, 3):
        writer.save(step, {"model": {"step": torch.tensor(step)}}, {}, best_step=1)
    writer.close()
    assert sorted(path.name for path in tmp_path.glob("step-*")) == [f"step-0000000{step}" for step in (1, 2, 3)]
    assert (tmp_path / "last").resolve().name == "step-00000003"


def test_an_error_is_told_at_the_next_look(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path / "file" / "checkpoints", keep=2)
    (tmp_path / "file").write_text("no folder")
    writer.save(7, {"model": {"weight": torch.zeros(1)}}, {}, None)
    writer.close()
    with pytest.raises(ConvsmithError, match=r"the checkpoint of step 7 cannot be written: .*\nEarlier checkpoints"):
        writer.check()


def test_tensors_of_any_layout_are_written_in_their_order_of_rows(tmp_path: Path) -> None:
    weight = torch.arange(24.0).view(2, 3, 2, 2).to(memory_format=torch.channels_last)
    writer = CheckpointWriter(tmp_path, keep=2)
    writer.save(1, {"model": {"weight": weight, "turned": weight.permute(3, 2, 1, 0)}}, {}, None)
    writer.close()
    checkpoint = latest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert torch.equal(checkpoint.tensors["model"]["weight"], weight)
    assert torch.equal(checkpoint.tensors["model"]["turned"], weight.permute(3, 2, 1, 0))
