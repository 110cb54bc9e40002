from __future__ import annotations

import os
import socket
from collections import Counter
from pathlib import Path

import pytest

from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.folders.scan import images_below
from convsmith.data.split import Share
from tests.data.folders import write_files


def images(root: Path, folder: str = "cat") -> list[str]:
    return [os.fsdecode(name) for name in images_below(root, folder, Counter())]


def others(root: Path, folder: str = "cat") -> dict[str, int]:
    counted: Counter[str] = Counter()
    images_below(root, folder, counted)
    return dict(counted)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "JPG", "Png"])
def test_image_extensions_count_in_any_case(tmp_path: Path, suffix: str) -> None:
    assert images(write_files(tmp_path, f"cat/a.{suffix}")) == [f"cat/a.{suffix}"]


def test_images_at_any_depth_belong_to_the_class(tmp_path: Path) -> None:
    write_files(tmp_path, "cat/b.png", "cat/a/x.png", "cat/a/deep/er/y.png")
    assert images(tmp_path) == ["cat/a/deep/er/y.png", "cat/a/x.png", "cat/b.png"]


def test_files_are_sorted_by_the_bytes_of_their_path(tmp_path: Path) -> None:
    names = ["cat/Z.png", "cat/a-b.png", "cat/a/1.png", "cat/a0.png", "cat/é.png", "cat/猫.png", "cat/🐈.png"]
    assert images(write_files(tmp_path, *reversed(names))) == sorted(names, key=os.fsencode)


def test_a_file_name_of_any_bytes_is_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"cat/\xff\xfe.png")
    assert images(write_files(tmp_path, name)) == [name]


def test_hidden_names_and_macosx_are_skipped(tmp_path: Path) -> None:
    write_files(tmp_path, "cat/a.png", "cat/._a.png", "cat/.cache/b.png", "cat/__MACOSX/c.png", "cat/.DS_Store")
    assert images(tmp_path) == ["cat/a.png"]
    assert others(tmp_path) == {}


def test_other_files_are_counted_by_extension(tmp_path: Path) -> None:
    write_files(tmp_path, "cat/a.png", "cat/b.txt", "cat/deep/c.TXT", "cat/README", "cat/d.png.bak", "cat/jpg")
    assert others(tmp_path) == {".txt": 2, "without extension": 2, ".bak": 1}


def test_the_note_names_the_commonest_extensions(tmp_path: Path) -> None:
    write_files(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", "a/x.txt", "b/y.txt", "z.csv", "b/z")
    notes = open_image_folder(tmp_path, Share(0.5)).notes
    assert notes[0] == "left out, not images: 2 .txt, 1 .csv, 1 without extension"


def test_the_note_sums_up_rare_extensions(tmp_path: Path) -> None:
    write_files(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", *[f"a/x.{i}" for i in range(8)])
    assert open_image_folder(tmp_path, Share(0.5)).notes[0].endswith(", 3 of other kinds")


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    write_files(tmp_path, "store/1.png", "store/folder/2.png", "cat/3.png")
    (tmp_path / "cat" / "link.png").symlink_to(tmp_path / "store" / "1.png")
    (tmp_path / "cat" / "linked").symlink_to(tmp_path / "store" / "folder")
    assert images(tmp_path) == ["cat/3.png", "cat/link.png", "cat/linked/2.png"]


def test_a_class_folder_may_be_a_link(tmp_path: Path) -> None:
    write_files(tmp_path, "store/1.png", "train/dog/1.png")
    (tmp_path / "train" / "cat").symlink_to(tmp_path / "store")
    assert images(tmp_path, "train/cat") == ["train/cat/1.png"]


def test_a_folder_reached_twice_counts_once(tmp_path: Path) -> None:
    write_files(tmp_path, "cat/b/1.png")
    (tmp_path / "cat" / "a").symlink_to("b")
    assert images(tmp_path) == ["cat/a/1.png"]


@pytest.mark.parametrize("target", [".", "..", "../..", "/"])
def test_a_link_upwards_is_not_entered(tmp_path: Path, target: str) -> None:
    write_files(tmp_path, "cat/deep/1.png", "dog/1.png")
    (tmp_path / "cat" / "deep" / "up").symlink_to(target)
    assert images(tmp_path) == ["cat/deep/1.png"]


def test_a_link_back_from_a_linked_class_is_not_entered(tmp_path: Path) -> None:
    write_files(tmp_path, "elsewhere/cat/1.png", "data/train/dog/1.png")
    (tmp_path / "data" / "train" / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    (tmp_path / "elsewhere" / "cat" / "back").symlink_to(tmp_path / "data")
    assert images(tmp_path / "data", "train/cat") == ["train/cat/1.png"]


@pytest.mark.parametrize("target", ["nowhere.png", "broken.png"])
def test_a_broken_link_to_an_image_stays_in_the_list(tmp_path: Path, target: str) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "broken.png").symlink_to(target)
    assert images(tmp_path) == ["cat/broken.png"]


def test_pipes_and_sockets_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, "cat/1.png")
    monkeypatch.chdir(tmp_path / "cat")  # the path of a socket is short
    os.mkfifo("pipe.png")
    Path("link.png").symlink_to("pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        assert images(tmp_path) == ["cat/1.png"]
        assert others(tmp_path) == {"pipe, socket or device": 3}
