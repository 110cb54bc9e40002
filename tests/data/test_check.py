from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from convsmith.data.checks.check import DECODE_LIMIT, BadFile, check_files, joined, look
from convsmith.data.index import Index, IndexBuilder
from tests.data.folders import path_of, png

MEBIBYTE = 2**20


def index_of(root: Path, **files: bytes) -> Index:
    """An index of files `root/NAME.jpg`, written with these contents, in this order."""
    builder = IndexBuilder(root)
    for name, content in files.items():
        (root / f"{name}.jpg").write_bytes(content)
        builder.add(0, [f"{name}.jpg".encode()])
    return builder.build()


def truncated_jpeg() -> bytes:
    """A JPEG with a good header and half a body."""
    data = io.BytesIO()
    Image.effect_noise((64, 64), 80).save(data, "JPEG")
    return data.getvalue()[: len(data.getvalue()) // 2]


def over_the_limit(root: Path, **files: bytes) -> Index:
    """The same files, with holes that make them so large together that only headers are read."""
    index = index_of(root, **{f"big{i}": png() for i in range(5)}, **files)
    for i in range(5):
        os.truncate(path_of(index, i), 250 * MEBIBYTE)
    return index


def reasons(index: Index) -> dict[str, str]:
    return {Path(bad.path).name: bad.reason for bad in check_files(index)}


def test_good_files_are_not_listed(tmp_path: Path) -> None:
    assert check_files(index_of(tmp_path, a=png(), b=png())) == []


def test_a_pipe_in_place_of_a_file_is_bad_and_not_waited_for(tmp_path: Path) -> None:
    index = index_of(tmp_path, a=png(), b=png())
    (tmp_path / "b.jpg").unlink()
    os.mkfifo(tmp_path / "b.jpg")
    assert reasons(index) == {"b.jpg": "it is a pipe, a socket or a device"}


def test_bad_files_are_listed_in_the_order_of_the_index(tmp_path: Path) -> None:
    contents = {f"{i:03}": png() if i % 3 else b"text" for i in range(200, 0, -1)}
    listed = [Path(bad.path).stem for bad in check_files(index_of(tmp_path, **contents))]
    assert listed == [name for name in contents if int(name) % 3 == 0]


@pytest.mark.parametrize("make", [index_of, over_the_limit], ids=["decoded", "headers"])
def test_the_reason_is_said(tmp_path: Path, make: Callable[..., Index]) -> None:
    index = make(tmp_path, empty=b"", text=b"text", gone=png(), good=png())
    (tmp_path / "gone.jpg").unlink()
    found = reasons(index)
    assert found.keys() == {"empty.jpg", "text.jpg", "gone.jpg"}
    assert found["empty.jpg"] == "it is empty"
    assert found["text.jpg"].startswith("it is not an image of a known kind")
    assert found["gone.jpg"] == "no such file or directory"


def test_a_broken_link_is_a_bad_file(tmp_path: Path) -> None:
    index = index_of(tmp_path, a=png())
    path_of(index, 0).unlink()
    path_of(index, 0).symlink_to("nowhere.jpg")
    assert check_files(index) == [BadFile(str(tmp_path / "a.jpg"), "no such file or directory")]


def test_a_damaged_body_is_found_by_decoding(tmp_path: Path) -> None:
    assert reasons(index_of(tmp_path, half=truncated_jpeg())).keys() == {"half.jpg"}


def test_above_the_limit_bodies_are_not_decoded(tmp_path: Path) -> None:
    index = over_the_limit(tmp_path, half=truncated_jpeg())
    assert sum(path_of(index, i).stat().st_size for i in range(len(index))) > DECODE_LIMIT
    assert reasons(index) == {}


def test_above_the_limit_a_file_too_large_to_be_read_is_bad(tmp_path: Path) -> None:
    index = over_the_limit(tmp_path, huge=png())
    os.truncate(path_of(index, 5), 257 * MEBIBYTE)
    assert reasons(index) == {"huge.jpg": "an image file may have 256 MiB"}


def test_above_the_limit_an_image_with_too_many_pixels_is_bad(tmp_path: Path) -> None:
    wide = io.BytesIO()
    Image.new("1", (9000, 9000)).save(wide, "PNG")
    assert reasons(over_the_limit(tmp_path, wide=wide.getvalue())).keys() == {"wide.jpg"}


def test_a_name_of_any_bytes_is_printable(tmp_path: Path) -> None:
    builder = IndexBuilder(tmp_path)
    builder.add(0, [b"\xff.jpg"])
    (bad,) = check_files(builder.build())
    assert bad.path.encode("utf-8") == os.fsencode(tmp_path) + rb"/\udcff.jpg"


def test_progress_rises_to_the_number_of_files(tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    look(index_of(tmp_path, **{f"{i}": png() for i in range(150)}), True, progress=lambda *it: told.append(it))
    assert told == [("check", 64, 150), ("check", 128, 150), ("check", 150, 150)]


def test_a_look_can_be_ended(tmp_path: Path) -> None:
    index = index_of(tmp_path, **{f"{i}": b"" for i in range(150)})
    assert len(look(index, True, stopping=lambda: True).bad) == 64


def test_an_error_in_progress_ends_the_check(tmp_path: Path) -> None:
    def interrupt(what: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look(index_of(tmp_path, a=png()), True, progress=interrupt)


def test_no_looks_are_joined_to_nothing() -> None:
    nothing = joined()
    assert (len(nothing.rows), len(nothing.pixels), nothing.bad) == (0, 0, {})
