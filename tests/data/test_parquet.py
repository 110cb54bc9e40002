"""Parquet files as tables: the same data as in CSV, of which only what is used is read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from convsmith.data.digest import data_digest
from convsmith.data.open_data import open_data
from convsmith.data.source import task_of
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from tests.data.folders import write_files
from tests.data.masks import write_folders

NAMES = ["a.png", "b.png", "sub/c.png", "sub/d.png"]
LABELS = ["cat", "dog", "cat", "dog"]


def write_parquet(root: Path, name: str = "photos.parquet", **columns: Any) -> Path:
    """A file with these columns, in groups of three rows, beside the images `NAMES`."""
    write_files(root, *NAMES)
    parquet.write_table(pa.table(columns), root / name, row_group_size=3)
    return root / name


def opened(path: Path, task: str = "classification", hold: bool = False) -> Any:
    return open_data(task, Data(val_fraction=0.5), path, hold_out=hold)


@pytest.mark.parametrize("hold", [False, True])
def test_a_parquet_file_is_the_same_data_as_a_csv_file(tmp_path: Path, hold: bool) -> None:
    path = write_parquet(tmp_path, image=NAMES, label=LABELS)
    rows = [f"{image},{label}\n" for image, label in zip(NAMES, LABELS, strict=True)]
    (tmp_path / "photos.csv").write_text("".join(["image,label\n", *rows]))
    assert data_digest(opened(path, hold=hold)) == data_digest(opened(tmp_path / "photos.csv", hold=hold))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pa.array([7, 10, 7, 10], pa.uint8()), ("10", "7")),
        (pa.array(LABELS).dictionary_encode(), ("cat", "dog")),
        (pa.array(LABELS, pa.large_string()), ("cat", "dog")),
        (pa.array(LABELS, pa.string_view()), ("cat", "dog")),
    ],
)
def test_labels_are_text_or_whole_numbers_of_any_type(tmp_path: Path, labels: Any, classes: tuple[str, ...]) -> None:
    assert opened(write_parquet(tmp_path, "p.pq", path=NAMES, label=labels)).classes == classes


@pytest.mark.parametrize(
    "columns",
    [
        {"labels": [["cat", "dog"], ["dog"], [], ["cat"]]},
        {"labels": ["cat|dog", "dog", "", "cat"]},
        {"cat": [True, False, False, True], "dog": [1, 1, 0, 0]},
        {"cat": [1.0, 0.0, 0.0, 1.0], "dog": pa.array([1, 1, 0, 0], pa.int8())},
    ],
)
def test_an_image_may_have_several_labels(tmp_path: Path, columns: dict[str, Any]) -> None:
    path = write_parquet(tmp_path, image=NAMES, **columns)
    assert task_of(path) == "multilabel"
    train = opened(path, "multilabel").train
    assert [train.target(i).tolist() for i in range(4)] == [[1, 1], [0, 1], [0, 0], [1, 0]]


def test_an_image_may_have_a_mask(tmp_path: Path) -> None:
    write_folders(tmp_path, "a", "b")
    path = write_parquet(tmp_path, image=["images/a.jpg", "images/b.jpg"], mask=["masks/a.png", "masks/b.png"])
    assert task_of(path) == "segmentation"
    assert opened(path, "segmentation").train.read(1)[1].tolist() == [[0] * 6] * 4


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": NAMES, "label": ["cat", "dog", "cat", None]}, "row 3 of PATH has no `label`"),
        ({"image": [*NAMES[:3], "a.png"], "label": LABELS}, "row 3 of PATH names the same image as row 0 of PATH"),
        ({"image": [*NAMES[:3], "e.png"], "label": LABELS}, "e.png (row 3 of photos.parquet)"),
        ({"image": NAMES, "label": [1.0, 2.0, 1.0, 2.0]}, "row 0 of PATH: `label` is 1.0"),
        ({"image": NAMES, "label": pa.array([0, 1, 0, 1], pa.date32())}, "row 0 of PATH: `label` is"),
        ({"image": NAMES, "label": LABELS, "split": ["train", "train", "trian", "val"]}, "row 2 of PATH has the split"),
        ({"picture": NAMES, "label": LABELS}, "PATH has no column `image`: it has `picture`, `label`"),
        ({"image": pa.array([], pa.string()), "label": pa.array([], pa.string())}, "PATH has no rows"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_row(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = write_parquet(tmp_path, **columns)
    with pytest.raises(ConvsmithError) as caught:
        opened(path)
    assert message.replace("PATH", str(path)) in str(caught.value)


def test_a_column_that_is_not_used_is_not_read(tmp_path: Path) -> None:
    path = write_parquet(tmp_path, image=NAMES, label=LABELS, feature=[[0.5] * 100] * 4, thumbnail=[b"x" * 99] * 4)
    content = bytearray(path.read_bytes())
    for name in ("feature", "thumbnail"):
        place = parquet.read_metadata(path).schema.names.index("element" if name == "feature" else name)
        chunk = parquet.read_metadata(path).row_group(0).column(place)
        content[chunk.data_page_offset : chunk.data_page_offset + 8] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises((OSError, pa.ArrowException)):
        parquet.read_table(path)
    assert len(opened(path).train) == 4


@pytest.mark.parametrize("content", [b"", b"PAR1", b"text" * 9])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photos.parquet"
    path.write_bytes(content)
    with pytest.raises(ConvsmithError, match=f"cannot read {path}"):
        opened(path)


def test_a_file_that_is_cut_in_its_data_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path, image=NAMES, label=LABELS)
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    with pytest.raises(ConvsmithError, match=f"cannot read {path}"):
        opened(path)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path, image=NAMES, label=LABELS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConvsmithError, match=r"a Parquet file needs the package `pyarrow`"):
        opened(path)
