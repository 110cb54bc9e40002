from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from convsmith.errors import ConvsmithError
from convsmith.storage import sealed
from convsmith.training.checkpoints.checkpoint import (
    DamagedCheckpoint,
    _steps,
    best_step_folder,
    latest_checkpoint,
    read_checkpoint,
    save_checkpoint,
    set_aside_after,
    step_folder,
    tidy,
)


def save(folder: Path, step: int, **state: int) -> None:
    weights = torch.full((2, 3, 4, 4), float(step))
    save_checkpoint(folder, step, {"model": {"w": weights}, "optimizer": {}}, {"loss": 0.1 * step, **state})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_read_back_exactly(tmp_path: Path) -> None:
    save(tmp_path, 3)
    checkpoint = read_checkpoint(step_folder(tmp_path, 3))
    assert torch.equal(checkpoint.tensors["model"]["w"], torch.full((2, 3, 4, 4), 3.0))
    assert checkpoint.tensors["optimizer"] == {}
    assert (checkpoint.state["step"], checkpoint.state["loss"]) == (3, 0.1 * 3)


def test_the_latest_is_the_one_with_the_highest_step(tmp_path: Path) -> None:
    for step in (9, 100, 10):
        save(tmp_path, step)
    latest = latest_checkpoint(tmp_path)
    assert latest is not None
    assert latest.state["step"] == 100


def test_there_is_no_latest_in_an_empty_or_missing_folder(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "missing") is None


@pytest.mark.parametrize("file", ["model.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "nest", "folder", "pipe"])
def test_a_damaged_newest_checkpoint_is_passed_over_loudly(
    tmp_path: Path, file: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    path = step_folder(tmp_path, 2) / file
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif damage == "truncate":
        path.write_bytes(content[:-5])
    elif damage == "nest":
        path.write_bytes(b"[" * 100_000)
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    latest = latest_checkpoint(tmp_path)
    assert latest is not None
    assert latest.state["step"] == 1
    assert "step-00000002 is passed over" in caplog.text
    assert names(tmp_path) == ["step-00000001", "step-00000002"]


def test_when_every_checkpoint_is_damaged_that_is_an_error(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (step_folder(tmp_path, 1) / "state.json").write_text("{}")
    with pytest.raises(ConvsmithError, match="every one is damaged"):
        latest_checkpoint(tmp_path)


def test_tidy_keeps_the_newest_and_the_best_and_points_to_them(tmp_path: Path) -> None:
    for step in range(1, 6):
        save(tmp_path, step)
    tidy(tmp_path, best_step=2, keep=2)
    assert names(tmp_path) == ["best", "last", "step-00000002", "step-00000004", "step-00000005"]
    assert (tmp_path / "last").resolve().name == "step-00000005"
    assert (tmp_path / "best").resolve().name == "step-00000002"


def test_folders_that_copying_made_of_the_links_become_links_again(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, step)
    for name in ("last", "best"):
        shutil.copytree(step_folder(tmp_path, 1), tmp_path / name)
    tidy(tmp_path, best_step=1, keep=2)
    assert [(tmp_path / name).resolve().name for name in ("last", "best")] == ["step-00000002", "step-00000001"]


def test_the_best_checkpoint_is_found_by_the_state_where_links_are_lost(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step, best_step=2)
    assert best_step_folder(tmp_path) == step_folder(tmp_path, 2)


def test_the_best_checkpoint_is_found_where_copying_made_files_of_the_links(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, step, best_step=1)
    (tmp_path / "best").write_text("step-00000001")
    assert best_step_folder(tmp_path) == step_folder(tmp_path, 1)
    tidy(tmp_path, best_step=1, keep=2)
    assert (tmp_path / "best").resolve() == step_folder(tmp_path, 1)


def test_what_others_put_beside_checkpoints_is_not_one(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / "step-00000002.tar").touch()
    (tmp_path / "step-00000001 (copy)").mkdir()
    tidy(tmp_path, best_step=None, keep=1)
    assert (tmp_path / "last").resolve() == step_folder(tmp_path, 1)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.state["step"] == 1
    assert names(tmp_path) == ["last", "step-00000001", "step-00000001 (copy)", "step-00000002.tar"]


def test_a_file_system_without_links_costs_the_links_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, target: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    save(tmp_path, 1)
    tidy(tmp_path, best_step=1, keep=1)
    assert names(tmp_path) == ["step-00000001"]


def test_a_checkpoint_that_cannot_be_read_just_now_is_no_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)

    def failing_disk(path: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("convsmith.training.checkpoints.checkpoint.sha256_of", failing_disk)
    with pytest.raises(ConvsmithError, match=r"cannot be read: .*Input/output error"):
        latest_checkpoint(tmp_path)


def test_checkpoints_of_later_steps_are_set_aside_not_deleted(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    set_aside_after(tmp_path, 1)
    assert names(tmp_path) == ["damaged-step-00000002", "damaged-step-00000003", "step-00000001"]


@pytest.mark.parametrize("kind", ["model", "ema"])
def test_a_checkpoint_whose_weights_are_not_finite_is_passed_over(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    weights = {"w": torch.ones(3), "n": torch.ones(2, dtype=torch.int64)}
    save_checkpoint(tmp_path, 2, {"model": weights, kind: {**weights, "v": torch.tensor([1.0, torch.nan])}}, {})
    latest = latest_checkpoint(tmp_path)
    assert latest is not None
    assert latest.state["step"] == 1
    assert f"{kind}.safetensors has values of `v` that are not finite numbers" in caplog.text


@pytest.mark.parametrize(
    ("said", "number"), [("I/O error: No space left on device (os error 28)", errno.ENOSPC), ("a bad header", None)]
)
def test_what_the_system_refuses_safetensors_is_an_error_of_the_system(
    said: str, number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SafetensorError(said)

    monkeypatch.setattr("convsmith.training.checkpoints.checkpoint.save_file", refuse)
    with pytest.raises(SafetensorError if number is None else OSError) as caught:
        save(tmp_path, 1)
    if isinstance(caught.value, OSError):
        assert (caught.value.errno, caught.value.strerror) == (number, "No space left on device")
    assert names(tmp_path) == []


def test_only_folders_with_the_number_of_a_step_are_checkpoints(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 123_456_789)
    for name in ("step-2", "step-00000002-copy", "step-0000000x"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-00000009").touch()
    assert [path.name for path in _steps(tmp_path)] == ["step-00000001", "step-123456789"]


@pytest.mark.parametrize("content", ["[]", "{}", '{"files": []}', "7"])
def test_another_state_is_not_that_of_a_checkpoint(content: str, tmp_path: Path) -> None:
    save(tmp_path, 1)
    state = step_folder(tmp_path, 1) / "state.json"
    values = json.loads(content)
    state.write_text(json.dumps(sealed(values)) if isinstance(values, dict) else content)
    with pytest.raises(DamagedCheckpoint, match=r"the checkpoint .* is damaged: state\.json is not what was written"):
        read_checkpoint(step_folder(tmp_path, 1))


def test_a_state_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    save(tmp_path, 1)
    state = step_folder(tmp_path, 1) / "state.json"
    state.write_text(state.read_text().replace('"loss": 0.1', '"loss": 0.2'))
    with pytest.raises(DamagedCheckpoint, match=r"state\.json is not what was written"):
        read_checkpoint(step_folder(tmp_path, 1))
