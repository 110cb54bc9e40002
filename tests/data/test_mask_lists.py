"""Lists of images and masks, such as HRNet's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from convsmith.errors import ConvsmithError
from tests.data.masks import names, opened, write_pairs

PAIRS = [("x/b.jpg", "y/b.png"), ("x/a.jpg", "z/other.png")]


def write_list(root: Path, text: str | bytes, name: str = "list/train.lst") -> Path:
    write_pairs(root, *PAIRS)
    (root / "classes.txt").write_text("a\nb\n")
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def listed(root: Path, text: str | bytes) -> list[tuple[str, str]]:
    return names(opened(write_list(root, text), None, train="list/train.lst", val=None).train)


def refusal(root: Path, text: str | bytes, **keys: Any) -> str:
    write_list(root, text)
    with pytest.raises(ConvsmithError) as caught:
        opened(root, None, **{"train": "list/train.lst", "val": None, **keys})
    return str(caught.value)


@pytest.mark.parametrize("separator", [" ", "\t", "   ", " \t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_pairs_stand_in_the_order_of_the_list(tmp_path: Path, separator: str, end: str) -> None:
    assert listed(tmp_path, "".join(f"{separator.join(pair)}{end}" for pair in PAIRS)) == PAIRS


def test_blank_lines_and_a_byte_order_mark_mean_nothing(tmp_path: Path) -> None:
    assert listed(tmp_path, "\ufeff\nx/b.jpg y/b.png\n\n  \n") == PAIRS[:1]


def test_a_pair_listed_twice_counts_twice(tmp_path: Path) -> None:
    assert listed(tmp_path, "x/b.jpg y/b.png\n" * 2) == PAIRS[:1] * 2


def test_paths_that_start_with_a_slash_start_from_the_data_folder(tmp_path: Path) -> None:
    assert listed(tmp_path, "/x/b.jpg /y/b.png") == PAIRS[:1]


def test_a_tab_lets_paths_have_spaces(tmp_path: Path) -> None:
    write_pairs(tmp_path, ("my photos/1 a.jpg", "my masks/1 a.png"))
    assert listed(tmp_path, "my photos/1 a.jpg\tmy masks/1 a.png") == [("my photos/1 a.jpg", "my masks/1 a.png")]


def test_paths_may_be_any_bytes(tmp_path: Path) -> None:
    image, mask = os.fsdecode(b"x/\xff.jpg"), os.fsdecode(b"y/\xff.png")
    write_pairs(tmp_path, (image, mask))
    assert listed(tmp_path, b"x/\xff.jpg y/\xff.png") == [(image, mask)]


def test_lists_can_be_joined_and_be_those_of_a_published_layout(tmp_path: Path) -> None:
    write_list(tmp_path, "x/b.jpg y/b.png")
    write_list(tmp_path, "x/a.jpg z/other.png", "val.txt")
    folder = opened(tmp_path, layout="voc", train="list/train.lst", val="val.txt", extra="list/train.lst+val.txt")
    assert (len(folder.train), len(folder.val), len(folder.extra or ())) == (1, 1, 2)
    assert len(folder.classes) == 21


def test_a_listed_part_can_be_split(tmp_path: Path) -> None:
    write_list(tmp_path, "".join(f"{' '.join(pair)}\n" for pair in PAIRS))
    folder = opened(tmp_path, 0.5, train="list/train.lst", val=None)
    assert (len(folder.train), len(folder.val)) == (1, 1)


def test_the_list_of_a_test_part_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, "x/b.jpg\n")
    assert f"{tmp_path}/list/train.lst, entry 1, does not name an image and its mask: x/b.jpg" in message
    assert "is it the list of a test part?" in message


@pytest.mark.parametrize("line", ["a b.jpg a b.png", "a.jpg\t", "a\tb\tc"])
def test_a_line_that_is_no_pair_is_refused(tmp_path: Path, line: str) -> None:
    assert "entry 2, does not name an image and its mask" in refusal(tmp_path, f"x/b.jpg y/b.png\n{line}\n")


def test_files_that_are_not_there_are_refused_by_name_and_number(tmp_path: Path) -> None:
    message = refusal(tmp_path, "x/b.jpg y/b.png\nx/no.jpg y/no.png\nx/a.jpg y\n")
    assert f"3 of 6 files that {tmp_path}/list/train.lst lists are missing: `x/no.jpg`, `y/no.png`, `y`" in message
    assert f"relative to {tmp_path}" in message


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_list_is_refused(tmp_path: Path, text: str) -> None:
    assert f"nothing in {tmp_path}/list/train.lst" in refusal(tmp_path, text)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, "x/b.jpg y/b.png", val="val.lst")
    assert f"cannot read the list {tmp_path}/val.lst: No such file" in message


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "val.lst")
    assert "val.lst is not a file" in refusal(tmp_path, "x/b.jpg y/b.png", val="val.lst")
