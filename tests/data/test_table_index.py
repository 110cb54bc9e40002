"""The index of a table of very many images is opened again without reading it, unless what decides it has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from convsmith.data import kept_index
from convsmith.data.dataset import DataSet, Samples, splits
from convsmith.data.kept_index import index_beside
from convsmith.data.open_data import open_data
from convsmith.data.tables import table_data
from convsmith.data.tables.table_file import TableFile
from convsmith.data.tables.table_rows import RowBatch
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from tests.data.folders import write_files

HEADER = "image,label,labels,mask,group,weight,site"
ROWS = [
    f"images/{i % 2}/{i}.png,{'abc'[i % 3]},{'|'.join('xyz'[: i % 3 + 1])},masks/{i}.png,g{i // 2},{i / 4},s{i // 4}"
    for i in range(12)
]
TASKS = ["classification", "multilabel", "segmentation"]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_index, "_WORTH", 5)
    root = tmp_path / "photos"
    write_files(root, *(f"images/{i % 2}/{i}.png" for i in range(12)))
    (root / "masks").mkdir()
    for i in range(12):
        Image.new("L", (2, 2)).save(root / f"masks/{i}.png")
    (root / "classes.txt").write_text("one\ntwo\n")
    (root / "photos.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    return age(root) / "photos.csv"


def age(root: Path) -> Path:
    """A folder, or a table, that has just changed is not relied on."""
    for folder, _, files in os.walk(root):
        for name in ["", *(file for file in files if file.endswith(".csv"))]:
            os.utime(Path(folder, name), (1, 1))
    return root


def opened(path: Path, task: str = "classification", hold: bool = True, **section: Any) -> DataSet:
    return open_data(task, Data(val_fraction=0.3, **section), path, hold_out=hold)


def facts(data: DataSet) -> tuple[Any, ...]:
    """All that a training asks of a data set."""
    return (data.root, data.classes, data.notes, data.names_digest, *map(of_samples, splits(data).values()))


def of_samples(samples: Samples) -> tuple[Any, ...]:
    groups = samples.groups
    of = None if groups is None else [groups.names[number] for number in groups.of]
    weights = None if samples.weights is None else samples.weights.tobytes()
    names = [samples.name(i) for i in range(len(samples))]
    targets = getattr(samples, "target", lambda _: 0)
    return of, weights, names, samples.targets.tolist(), [np.asarray(targets(i)).tolist() for i in range(len(samples))]


def reads(path: Path, task: str = "classification", **section: Any) -> bool:
    """Whether the table is read to open it; what is found is what is found without an index."""
    read, batches = list[TableFile](), TableFile.batches

    def noted(table: TableFile, columns: Sequence[str]) -> Iterator[RowBatch]:
        read.append(table)
        return batches(table, columns)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TableFile, "batches", noted)
        found = opened(path, task, **section)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_index, "open_kept", None)
        patch.setattr(table_data, "keep_images", lambda *of: of[-1]())
        patch.setattr(table_data, "keep_parts", lambda *of: of[-1]())
        assert facts(found) == facts(opened(path, task, **section))
    return bool(read)


@pytest.mark.parametrize("task", TASKS)
def test_a_second_opening_does_not_read_the_table_and_finds_the_same(photos: Path, task: str) -> None:
    assert reads(photos, task)
    assert not reads(photos, task)


@pytest.mark.parametrize(
    "other",
    [
        {"hold": False},
        {"folds": 3, "fold": 1},
        {"columns": {"group": "site"}},
        {"root": "."},
        {"on_error": "skip"},
        {"task": "multilabel"},
    ],
    ids=str,
)
def test_another_split_or_key_is_another_index(photos: Path, other: dict[str, Any]) -> None:
    reads(photos)
    assert reads(photos, **other)
    assert not reads(photos, **other)
    assert not reads(photos)


def test_a_table_that_has_changed_is_read(photos: Path) -> None:
    reads(photos)
    photos.write_text("\n".join([HEADER, *reversed(ROWS)]) + "\n")
    os.utime(photos, (2, 2))
    assert reads(photos)
    assert not reads(photos)


def test_a_table_is_read_whose_time_was_put_back_by_who_changed_it(photos: Path) -> None:
    reads(photos)
    photos.write_text("\n".join([HEADER, *reversed(ROWS)]) + "\n")  # as long as it was
    os.utime(photos, (1, 1))
    assert reads(photos)


def test_a_table_that_has_just_changed_is_read_again(photos: Path) -> None:
    photos.touch()
    assert reads(photos)
    assert reads(photos)


def test_an_image_that_went_is_missed(photos: Path) -> None:
    reads(photos)
    (photos.parent / "images/1/3.png").unlink()
    with pytest.raises(ConvsmithError, match=r"1 of 12 files .*3\.png \(line 5"):
        opened(photos)


def test_a_mask_that_went_is_missed(photos: Path) -> None:
    reads(photos, "segmentation")
    (photos.parent / "masks/3.png").unlink()
    with pytest.raises(ConvsmithError, match=r"1 of 12 files .*masks/3\.png"):
        opened(photos, "segmentation")


def test_names_without_an_ending_are_sought_again_where_a_folder_came(photos: Path) -> None:
    photos.write_text("\n".join(["id,label", *(f"{i},{'ab'[i % 4 // 2]}" for i in range(0, 12, 2))]))
    (photos.parent / "images/1").rename(photos.parent.parent / "elsewhere")
    for image in (photos.parent / "images/0").iterdir():
        image.rename(photos.parent / "images" / image.name)
    age(photos.parent)
    (photos.parent / "masks").rename(photos.parent.parent / "masks")
    os.utime(photos.parent, (1, 1))
    assert reads(photos)
    assert not reads(photos)
    write_files(photos.parent, "images/2.jpg")  # which may be meant as well
    with pytest.raises(ConvsmithError, match="they differ in their ending only"):
        opened(photos)


def test_an_image_that_came_where_the_table_says_counts_before_those_in_folders_beside_it(photos: Path) -> None:
    photos.write_text("\n".join(["id,label", *(f"0/{i}.png,{'ab'[i % 4 // 2]}" for i in range(0, 12, 2))]))
    age(photos.parent)
    assert reads(photos)
    assert not reads(photos)
    write_files(photos.parent, *(f"0/{i}.png" for i in range(0, 12, 2)))
    assert reads(photos)
    assert opened(photos).train.name(0).startswith(f"{photos.parent}/0/")


@pytest.mark.parametrize("name", ["train_rows", "train_buffer", "val_targets", "states", "train_names"])
def test_a_damaged_index_is_made_anew(photos: Path, tmp_path: Path, name: str) -> None:
    reads(photos)
    for path in tmp_path.glob(f"cache/index/*/{name}.npy"):
        path.write_bytes(path.read_bytes()[:-9])
    assert reads(photos)
    assert not reads(photos)


def test_arrays_that_do_not_go_together_are_made_anew(photos: Path, tmp_path: Path) -> None:
    reads(photos)
    for path in tmp_path.glob("cache/index/*/train_rows.npy"):
        np.save(path, np.load(path)[:-1])
    assert reads(photos)


def test_arrays_are_mapped_so_that_processes_share_them(photos: Path) -> None:
    images = opened(photos).train.images  # type: ignore[attr-defined]
    assert all(isinstance(array.base, np.memmap) for array in (*images.items.key, images.rows, images.weights))


def test_files_that_were_asked_for_are_not_asked_for_again(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = opened(photos).train
    monkeypatch.setattr(os, "stat", lambda *_: pytest.fail("a file was asked for"))
    assert train.stats.any()


def test_a_run_keeps_the_index_of_a_table(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with index_beside(tmp_path / "run/index") as keep:
        opened(photos)
        keep()
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "another"))
    with index_beside(tmp_path / "run/index"):
        assert not reads(photos)


def test_few_rows_leave_nothing_in_the_cache(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_index, "_WORTH", 13)
    reads(photos)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


SCRIPT = """
import sys
from pathlib import Path
from convsmith.data import kept_index
from convsmith.data.open_data import open_data
from convsmith.data.tables.table_file import TableFile
from convsmith.recipe.data import Data

kept_index._WORTH, read, batches = 5, [], TableFile.batches
TableFile.batches = lambda *of: read.append(of) or batches(*of)
print(len(read), open_data("classification", Data(val_fraction=0.3), Path(sys.argv[1])).names_digest, len(read))
"""


@pytest.mark.slow
def test_of_several_processes_one_reads_and_all_find_the_same(photos: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(photos)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0].split() for process in processes]
    assert sorted(words[-1] for words in said) == ["0", "0", "1"]
    assert len({tuple(words[1:-1]) for words in said}) == 1


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=3)
NAME = st.sampled_from(["a.png", "./b.png", " c.png", "d//e.png", "d/./f.png", "ü/g.png", "h .png", "a b.png"])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(NAME, st.sampled_from(["x", "y", " x", "é", "é"]), CELL, CELL), min_size=1),
    st.integers(1, 4),
)
def test_rows_taken_in_together_are_those_taken_in_one_by_one(
    tmp_path: Path, rows: list[tuple[str, ...]], at_once: int
) -> None:
    path = tmp_path / "rows.jsonl"
    keys = ("image", "label", "group", "weight")
    path.write_text("".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in rows))

    def outcome(change: Callable[[pytest.MonkeyPatch], object]) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("convsmith.data.tables.table_file.AT_ONCE", at_once)
            change(patch)
            try:
                return facts(opened(path, on_error="skip"))
            except ConvsmithError as error:
                return str(error)

    def one_by_one(patch: pytest.MonkeyPatch) -> None:
        for column in ("path_column.PathColumn", "extra_columns.GroupColumn", "table_data._Labels"):
            patch.setattr(f"convsmith.data.tables.{column}.add_all", lambda *_: False)

    assert outcome(lambda _: None) == outcome(one_by_one)


YES_NO = st.sampled_from(["0", "1", "true", "0.0", " 1", "x"])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(YES_NO, YES_NO, st.sampled_from(["", "a", "a|b", " b|a", "c||a", "b|"])), min_size=1))
@pytest.mark.parametrize("columns", [("p", "q", "other"), ("p", "q", "labels")])
def test_several_labels_taken_in_together_are_those_taken_in_one_by_one(
    tmp_path: Path, columns: tuple[str, ...], rows: list[tuple[str, ...]]
) -> None:
    path = tmp_path / "rows.csv"
    lines = [f"{i}.png,{','.join(row)}" for i, row in enumerate([("0", "1", "a|b"), ("1", "0", "b|c"), *rows])]
    path.write_text("\n".join([f"image,{','.join(columns)}", *lines]))

    def outcome(together: bool) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("convsmith.data.tables.table_file.AT_ONCE", 2)
            if not together:
                patch.setattr("convsmith.data.tables.table_labels.LabelColumns.add_all", lambda *_: False)
            try:
                return facts(opened(path, "multilabel", on_error="skip"))
            except ConvsmithError as error:
                return str(error)

    assert outcome(together=True) == outcome(together=False)


def test_what_is_wrong_with_a_row_is_said_before_what_is_wrong_with_a_later_line(photos: Path) -> None:
    photos.write_text('image,label\nimages/0/0.png,a\n,a\nimages/0/2.png,"a\n')
    with pytest.raises(ConvsmithError, match=r"line 3 of .* has no `image`"):
        opened(photos)
