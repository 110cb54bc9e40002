"""The index of very many images is opened again without reading the folders, unless a name in one has changed."""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convsmith.data import kept_index
from convsmith.data.folders import class_files, folder_index, scan
from convsmith.data.folders.folder_index import open_large_folder
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.image_data import ImageData
from convsmith.data.kept_index import index_beside
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError
from tests.data.folders import write_files

SHARE = Share(0.3)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_index, "_WORTH", 5)
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
    with scan.places_noted() as folders:
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
    for path in tmp_path.glob("cache/index/*/train_*.npy"):
        path.write_bytes(path.read_bytes()[:-9])
    assert listed(photos) > 0


def test_arrays_are_mapped_so_that_processes_share_them(photos: Path) -> None:
    listed(photos)
    assert all(isinstance(array.base, np.memmap) for array in open_large_folder(photos, SHARE).train.images.key)


def test_processes_find_what_one_finds(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for share in (SHARE, None, Share(0.1, fold=1, folds=3)):
        with monkeypatch.context() as patch:
            patch.setattr(class_files, "_ALONE", 0.0)
            patch.setattr(class_files, "available_cores", lambda: 2)
            by_processes = open_image_folder(photos, share)
        assert same(by_processes, open_image_folder(photos, share))


def test_folders_that_processes_read_are_known(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_files, "_ALONE", 0.0)
    monkeypatch.setattr(class_files, "available_cores", lambda: 2)
    open_large_folder(photos, SHARE)
    assert listed(photos) == 0
    write_files(photos, "b/x/new.png")
    assert listed(photos) > 0


def test_a_folder_that_cannot_be_read_is_named_by_whichever_process_reads_it(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_files, "_ALONE", 0.0)
    monkeypatch.setattr(class_files, "available_cores", lambda: 2)
    with pytest.raises(ConvsmithError, match=r"cannot read the folder .*gone"):
        list(class_files.read_classes(photos, ["a", "gone"], frozenset({".png"}), ranked=False))


def keep_beside(photos: Path, run: Path) -> None:
    with index_beside(run / "index") as keep:
        open_large_folder(photos, SHARE)
        keep()


def opens_from_the_run(photos: Path, run: Path) -> bool:
    """Whether no folder is read, though there is no cache."""
    shutil.rmtree(photos.parent / "cache", ignore_errors=True)
    with index_beside(run / "index"):
        return listed(photos) == 0


def test_a_run_opens_its_own_index(photos: Path, tmp_path: Path) -> None:
    keep_beside(photos, tmp_path / "run")
    assert opens_from_the_run(photos, tmp_path / "run")


def test_a_run_keeps_an_index_that_the_cache_had(photos: Path, tmp_path: Path) -> None:
    listed(photos)
    keep_beside(photos, tmp_path / "run")
    assert opens_from_the_run(photos, tmp_path / "run")


def test_a_run_keeps_an_index_that_the_cache_cannot_take(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "file"))
    keep_beside(photos, tmp_path / "run")
    assert opens_from_the_run(photos, tmp_path / "run")


def test_the_index_of_a_run_is_made_anew_when_a_name_came(photos: Path, tmp_path: Path) -> None:
    keep_beside(photos, tmp_path / "run")
    write_files(photos, "b/x/new.png")
    age(photos)
    os.utime(photos / "b" / "x", (2, 2))
    assert not opens_from_the_run(photos, tmp_path / "run")
    keep_beside(photos, tmp_path / "run")
    assert opens_from_the_run(photos, tmp_path / "run")


def test_the_index_of_an_earlier_split_is_cleared_from_the_run(photos: Path, tmp_path: Path) -> None:
    keep_beside(photos, tmp_path / "run")
    with index_beside(tmp_path / "run" / "index") as keep:
        open_large_folder(photos, None)
        keep()
    assert len(list((tmp_path / "run" / "index").iterdir())) == 1


def test_folds_keep_both_of_their_openings(photos: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with index_beside(tmp_path / "run" / "index") as keep:
            open_large_folder(photos, None)
            open_large_folder(photos, SHARE)
            keep()
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    with index_beside(tmp_path / "run" / "index"):
        assert listed(photos, None) == listed(photos) == 0


def test_few_images_leave_nothing_in_the_cache_or_the_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_index, "_WORTH", 1000)
    keep_beside(photos, tmp_path / "run")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not (tmp_path / "run").exists()


def test_those_that_waited_for_another_process_read_few_images_at_once(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)

    def reading(*arguments: Any) -> ImageData:
        both.wait(timeout=60)
        return open_image_folder(*arguments)

    monkeypatch.setattr(kept_index, "_WORTH", 1000)
    monkeypatch.setattr(folder_index, "open_image_folder", reading)
    with ThreadPoolExecutor(2) as pool:
        with kept_index._alone(photos):
            waiting = [pool.submit(open_large_folder, photos, SHARE) for _ in range(2)]
            assert not wait(waiting, timeout=0.3).done
        assert same(*(it.result() for it in waiting))
