"""The index of very many images is opened again without reading the folders, unless a name in one has changed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from convsmith.data.folders import folder_index, scan
from convsmith.data.folders.folder_index import open_large_folder
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.image_data import ImageData
from convsmith.data.split import Share
from tests.data.folders import write_files

SHARE = Share(0.3)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(folder_index, "_WORTH", 5)
    root = write_files(tmp_path / "photos", *(f"{label}/{inner}{i}.png" for label in "ab" for inner in ("", "x/") for i in range(4)))  # fmt: skip # noqa: E501
    (root / "a" / "empty").mkdir()
    (root / "a" / "notes.txt").touch()
    age(root)
    return root


def age(root: Path) -> None:
    """A folder that has just changed is not relied on."""
    for folder, _, _ in os.walk(root):
        os.utime(folder, (1, 1))


def same(one: ImageData, other: ImageData) -> bool:
    facts = one.root, one.classes, one.notes, one.names_digest
    return facts == (other.root, other.classes, other.notes, other.names_digest)


def listed(root: Path, share: Share | None = SHARE) -> int:
    """How many folders are read to open it; it is what a fresh scan finds."""
    with scan.folders_listed() as folders:
        found = open_large_folder(root, share)
        read = len(folders)
        assert same(found, open_image_folder(root, share))
        assert found.train.name(0) == open_image_folder(root, share).train.name(0)
    return read


def test_a_second_opening_reads_no_folder(photos: Path) -> None:
    assert listed(photos) > 0
    assert listed(photos) == 0
    assert listed(photos, None) > 0  # another split is another index


@pytest.mark.parametrize("name", ["a/new.png", "b/x/new.png", "a/empty/new.png", "c/new.png"])
def test_a_name_that_came_anywhere_is_seen(photos: Path, name: str) -> None:
    listed(photos)
    write_files(photos, name)
    assert listed(photos) > 0


def test_a_name_that_went_is_seen(photos: Path) -> None:
    listed(photos)
    (photos / "a" / "1.png").unlink()
    assert listed(photos) > 0


def test_folders_that_have_just_changed_are_read_again(photos: Path) -> None:
    write_files(photos / "a", "new.png")
    assert listed(photos) > 0
    assert listed(photos) > 0


def test_a_damaged_index_is_made_anew(photos: Path, tmp_path: Path) -> None:
    listed(photos)
    for path in tmp_path.glob("cache/folders/*/train_*.npy"):
        path.write_bytes(path.read_bytes()[:-9])
    assert listed(photos) > 0


def test_few_images_are_not_kept(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_index, "_WORTH", 1000)
    listed(photos)
    assert not list(tmp_path.glob("cache/**/*.npy"))


def test_arrays_are_mapped_so_that_processes_share_them(photos: Path) -> None:
    listed(photos)
    assert all(isinstance(array.base, np.memmap) for array in open_large_folder(photos, SHARE).train.images.key)
