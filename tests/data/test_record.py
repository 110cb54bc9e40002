from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from convsmith.data.checks.check import NOTHING, look
from convsmith.data.checks.look import Looks, Seen
from convsmith.data.checks.record import LookRecord
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.index import Index
from convsmith.data.split import Share
from convsmith.spec import Bands
from tests.data.folders import path_of, write_noise
from tests.data.masks import opened, plain, write_folders


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that are looked at from now on."""
    names: list[str] = []
    look_once = Index.look

    def look_and_tell(self: Index, i: int, decode: bool, bands: Bands) -> Seen:
        names.append(path_of(self, i).name)
        return look_once(self, i, decode, bands)

    monkeypatch.setattr(Index, "look", look_and_tell)
    return names


def images(root: Path) -> Index:
    return open_image_folder(root, Share(0.5)).train


@pytest.fixture
def record(tmp_path: Path) -> LookRecord:
    """What a look at six images told; the first is bad."""
    train = images(write_noise(tmp_path / "data", 6))
    path_of(train, 0).write_bytes(b"text")
    record = LookRecord(tmp_path / "data_check.npz", "rules")
    record.write(look(images(tmp_path / "data"), decode=True), unless=NOTHING)
    return record


def test_only_bad_files_are_looked_at_again(record: LookRecord, tmp_path: Path, looked_at: list[str]) -> None:
    train = images(tmp_path / "data")
    assert look(train, True, record.read()).bad.keys() == {0}
    assert looked_at == [path_of(train, 0).name]


def test_a_file_of_another_time_or_name_is_looked_at(record: LookRecord, tmp_path: Path, looked_at: list[str]) -> None:
    train = images(tmp_path / "data")
    os.utime(path_of(train, 2), ns=(0, 0))
    path_of(train, 3).rename(path_of(train, 3).with_name("zebra.png"))
    look(images(tmp_path / "data"), True, record.read())
    assert looked_at[1:] == [path_of(train, 2).name, "zebra.png"]


def test_what_is_not_looked_at_again_is_known_as_before(record: LookRecord, tmp_path: Path) -> None:
    train = images(tmp_path / "data")
    assert np.array_equal(look(train, True, record.read()).rows, look(train, True).rows)


def test_pixels_of_masks_are_known_as_before(tmp_path: Path) -> None:
    root = write_folders(tmp_path, "train/a", "train/b", "val/1")
    (root / "masks/train/b.png").write_bytes(plain(2))
    record = LookRecord(tmp_path / "data_check.npz", "rules")
    first = look(opened(root).train, True)
    record.write(first, unless=NOTHING)
    again = look(opened(root).train, True, record.read())
    assert sorted(first.pixels.tolist()) == sorted(again.pixels.tolist())
    assert sorted((target, count) for _, target, count in again.pixels.tolist()) == [(0, 24), (2, 24)]


def test_other_rules_begin_anew(record: LookRecord) -> None:
    assert not len(LookRecord(record.path, "others").read().rows)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_a_damaged_record_is_none(record: LookRecord, content: bytes) -> None:
    record.path.write_bytes(content)
    assert not len(record.read().rows)


def test_several_processes_see_what_one_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = images(write_noise(tmp_path, 200))
    path_of(train, 70).write_bytes(b"text")
    alone = look(train, True, processes=1)
    monkeypatch.setattr("convsmith.data.checks.check._FILES_OF_A_PROCESS", 1)
    together = look(train, True, processes=2)
    assert np.array_equal(alone.rows, together.rows)
    assert _errors(alone) == _errors(together)
    assert together.bad.keys() == {70}


def _errors(looks: Looks) -> dict[int, str]:
    return {i: str(error) for i, error in looks.bad.items()}
