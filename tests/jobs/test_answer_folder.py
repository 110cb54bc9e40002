"""Folders of answers in which no image is missed and none is twice."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import convsmith as cs
from convsmith.jobs.answer_folder import add_rows, answer_folder, digests, keep, lacking, look


def add(folder: Path, *names: str, error: str | None = None) -> str:
    """Write two rows for each image."""
    content, twice = io.BytesIO(), [name for name in names for _ in range(2)]
    parquet.write_table(pa.table({"path": twice, "error": pa.array([error] * len(twice), pa.string())}), content)
    return add_rows(folder, names, content.getvalue())


def held(folder: Path, **facts: int) -> int:
    """How many images have rows, as whoever goes on with the folder sees it."""
    with answer_folder(folder, facts, "path") as found:
        return len(found.names)


def test_images_count_once_however_many_rows_they_have(tmp_path: Path) -> None:
    add(tmp_path, "a", "b")
    add(tmp_path, "c")
    assert len(look(tmp_path, "path").names) == 3


def test_images_with_an_error_are_counted(tmp_path: Path) -> None:
    add(tmp_path, "a")
    add(tmp_path, "c", error="no image")
    assert look(tmp_path, "path").bad == 2


def test_a_batch_that_is_answered_once_more_is_written_in_its_place(tmp_path: Path) -> None:
    assert add(tmp_path, "a", "b") == add(tmp_path, "a", "b")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("names", [[], ["b"], ["a", "b", "c"]])
def test_what_lacks_is_what_nobody_holds(names: list[str]) -> None:
    wanted = ["c", "z", "a", "0"]
    assert lacking(wanted, np.sort(digests(names))).tolist() == [it not in names for it in wanted]


def test_of_two_files_with_an_image_one_goes(tmp_path: Path) -> None:
    assert held(tmp_path / "out") == 0
    add(tmp_path / "out", "a", "b")
    add(tmp_path / "out", "b", "c")
    assert held(tmp_path / "out") == 2
    assert look(tmp_path / "out", "path").doubles == []


def test_files_that_nobody_knows_of_go(tmp_path: Path) -> None:
    known = add(tmp_path, "a")
    add(tmp_path, "b")
    keep(tmp_path, {known})
    assert [path.name for path in tmp_path.iterdir()] == [known]


def test_a_folder_that_was_begun_otherwise_is_refused(tmp_path: Path) -> None:
    held(tmp_path / "out", top=1)
    with pytest.raises(cs.ConvsmithError, match="top: 1 before, 2 now"):
        held(tmp_path / "out", top=2)


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(cs.ConvsmithError, match="holds something else"):
        held(tmp_path)


def test_two_processes_do_not_write_a_folder(tmp_path: Path) -> None:
    with answer_folder(tmp_path / "out", {}, "path"), pytest.raises(cs.ConvsmithError, match="another process writes"):
        held(tmp_path / "out")


def test_readers_of_parquet_see_the_rows_alone(tmp_path: Path) -> None:
    held(tmp_path / "out")
    add(tmp_path / "out", "a")
    assert parquet.read_table(tmp_path / "out")["path"].to_pylist() == ["a", "a"]
