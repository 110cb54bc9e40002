from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from convsmith.data.digest import data_digest, has_content_of, has_names_of
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.image_data import ImageData
from convsmith.data.split import Share
from tests.data.folders import path_of, write_noise


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_noise(tmp_path / "data", 6)


def folder(root: Path) -> ImageData:
    return open_image_folder(root, Share(0.5))


def test_a_copy_elsewhere_and_at_another_time_has_the_same_digest(root: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copy)
    assert data_digest(folder(root)) == data_digest(folder(copied))


def test_another_size_is_another_content(root: Path) -> None:
    before, path = data_digest(folder(root)), path_of(folder(root).val, 1)
    path.write_bytes(path.read_bytes() + b"more")
    assert has_names_of(folder(root), before)
    assert not has_content_of(folder(root), before)


def test_other_bytes_of_the_same_size_and_time_are_another_content(root: Path) -> None:
    before, path = data_digest(folder(root)), path_of(folder(root).train, 1)
    time = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(time, time))
    assert not has_content_of(folder(root), before)


def test_a_digest_of_names_alone_is_accepted(root: Path) -> None:
    old = folder(root).names_digest
    assert has_names_of(folder(root), old)
    assert has_content_of(folder(root), old)


def test_another_name_is_another_data_set(root: Path) -> None:
    before, path = data_digest(folder(root)), path_of(folder(root).train, 1)
    path.rename(path.with_name("other.png"))
    assert not has_names_of(folder(root), before)
