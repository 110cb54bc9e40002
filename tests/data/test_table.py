"""Tables that name images: what they are taken for, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.bundle.images.image_error import ImageError
from convsmith.data.dataset import Samples
from convsmith.data.digest import data_digest
from convsmith.data.folders.files import FilesBuilder
from convsmith.data.open_data import open_data
from convsmith.data.source import find_opener, is_known, task_of
from convsmith.data.split import Share, hold_out, split_files
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from tests.data.folders import write_files
from tests.data.masks import write_folders

ROWS = [("a.png", "cat"), ("b.png", "dog"), ("sub/c.png", "cat"), ("sub/d.png", "dog")]


def write_table(root: Path, text: str, name: str = "photos.csv", images: Sequence[str] = ()) -> Path:
    """A table beside images; those of `ROWS` unless it says which."""
    write_files(root, *(images or [image for image, _ in ROWS]))
    (root / name).write_bytes(text.encode("utf-8-sig" if name == "bom.csv" else "utf-8"))
    return root / name


def csv_of(rows: Sequence[Sequence[str]], header: str = "image,label") -> str:
    return "\n".join([header, *map(",".join, rows)]) + "\n"


def opened(path: Path, hold: bool = True, **section: Any) -> Any:
    return open_data("classification", Data(val_fraction=0.5, **section), path, hold_out=hold)


def found(samples: Samples, root: Path) -> list[tuple[str, int]]:
    """The path of each image below the root, and its class."""
    return [
        (samples.name(i).partition(" (")[0].removeprefix(f"{root}/"), int(samples.targets[i]))
        for i in range(len(samples))
    ]


def refusal(path: Path, **section: Any) -> str:
    with pytest.raises(ConvsmithError) as caught:
        opened(path, **section)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("photos.csv", csv_of(ROWS)),
        ("bom.csv", csv_of(ROWS)),
        ("PHOTOS.CSV", csv_of(ROWS, "FileName, Class ")),
        ("photos.tsv", csv_of(ROWS, "path,target").replace(",", "\t")),
        ("semicolons.csv", csv_of(ROWS, "file_name,label").replace(",", ";")),
        ("windows.csv", csv_of(ROWS).replace("\n", "\r\n")),
        ("quoted.csv", csv_of([(f'"{image}"', f'"{label}"') for image, label in ROWS])),
        ("photos.jsonl", "".join(json.dumps({"image": image, "label": label}) + "\n" for image, label in ROWS)),
        ("dots.csv", csv_of([(f"./{image}", label) for image, label in ROWS])),
    ],
)
def test_the_rows_of_a_table_are_images_with_classes(tmp_path: Path, name: str, text: str) -> None:
    folder = opened(write_table(tmp_path, text, name), hold=False)
    assert folder.classes == ("cat", "dog")
    assert found(folder.train, tmp_path) == [("a.png", 0), ("b.png", 1), ("sub/c.png", 0), ("sub/d.png", 1)]


def test_whole_numbers_are_labels(tmp_path: Path) -> None:
    text = "".join(json.dumps({"image": image, "label": i}) + "\n" for i, (image, _) in enumerate(ROWS))
    assert opened(write_table(tmp_path, text, "p.jsonl"), hold=False).classes == ("0", "1", "2", "3")


def test_labels_that_differ_in_how_unicode_composes_letters_are_one_class(tmp_path: Path) -> None:
    rows = [("a.png", "caf\u00e9"), ("b.png", "cafe\u0301"), ("sub/c.png", "x")]
    assert opened(write_table(tmp_path, csv_of(rows)), hold=False).classes == ("caf\u00e9", "x")


def test_a_column_says_the_split_and_test_rows_are_left_out(tmp_path: Path) -> None:
    rows = [(*row, split) for row, split in zip(ROWS, ("train", "Training", "valid", "test"), strict=True)]
    folder = opened(write_table(tmp_path, csv_of(rows, "image,label,split")))
    assert found(folder.train, tmp_path) == [("a.png", 0), ("b.png", 1)]
    assert found(folder.val, tmp_path) == [("sub/c.png", 0)]
    assert "left out: 1 row of the split `test`" in folder.notes


def test_without_a_split_a_share_of_each_class_is_held_out_with_a_note(tmp_path: Path) -> None:
    folder = opened(write_table(tmp_path, csv_of(ROWS)))
    assert (sorted(folder.train.targets), sorted(folder.val.targets)) == ([0, 1], [0, 1])
    assert "held out 2 of 4 images" in folder.notes[0]


def test_columns_that_are_not_used_are_told(tmp_path: Path) -> None:
    rows = [(*row, "5", "x") for row in ROWS]
    folder = opened(write_table(tmp_path, csv_of(rows, "image,label,width,class")))
    assert folder.notes[0] == "left out, columns of photos.csv that are not used: `width`, `class`"


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=3), st.integers(0, 2)), unique_by=lambda row: row[0]))
def test_the_share_held_out_is_that_of_folders(rows: list[tuple[bytes, int]]) -> None:
    names = [name.replace(b"/", b"_").replace(b"\0", b"_") for name, _ in rows]
    rows = sorted(dict(zip(names, (group for _, group in rows), strict=True)).items())
    builder, groups = FilesBuilder(Path("data")), np.array([group for _, group in rows], np.int64)
    for name, _ in rows:
        builder.add(name)
    files = builder.build()
    expected = {
        name for group in range(3) for name in split_files([name for name, its in rows if its == group], Share(0.3))[1]
    }
    held_out = hold_out(files.names, groups, Share(0.3)) if rows else np.zeros(0, bool)
    assert {name for (name, _), is_out in zip(rows, held_out, strict=True) if is_out} == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("image,label\n", "has no rows"),
        ("picture,label\na.png,cat\n", "has no column `image`: it has `picture`, `label`"),
        ("image,animal\na.png,cat\n", "has no column `label`"),
        ("image,label\na.png,cat\nb.png,\n", "line 3 of TABLE has no `label`"),
        ("image,label\n,cat\n", "line 2 of TABLE has no `image`"),
        ("image,label\na.png,cat\nb.png\n", "line 3 of TABLE has no `label`"),
        ("image,label\na.png,cat,dog\n", "line 2 of TABLE has more cells than the first line"),
        ("image,label,split\na.png,cat,trian\n", "line 2 of TABLE has the split `trian`"),
        ("image,label\na.png,cat\nb.png,cat\n", "only one class"),
        ("image,label\na.png,cat\nb.png,dog\na.png,dog\n", "line 4 of TABLE names the same image as line 2 of TABLE"),
        ("image,label\na.png,cat\nb.png,dog\nnone.png,dog\n", "1 of 3 files that TABLE names are missing, such as"),
        ("image,label\na.png,cat\nb.png,dog\nnone.png,dog\n", "none.png (line 4 of photos.csv)"),
        ('image,label\na.png,cat\n"b.png,dog\n', "cannot read TABLE behind line 2"),
        ("image,label\na\0.png,cat\n", "line 2 of TABLE: `image` is"),
        ("image,label,split\na.png,cat,val\nb.png,dog,val\n", "has no row to train on"),
        ("image,label,split\na.png,cat,train\nb.png,dog,train\nsub/c.png,bird,val\n", "line 4 of TABLE has the label"),
        ("image,label\na.png,cat\nb.png,dog\n", "no images left for validation"),
        ("image,label\n" + "a" * 200_000 + ",cat\n", "cannot read TABLE behind line 1: field larger than field limit"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = write_table(tmp_path, text)
    assert message.replace("TABLE", str(path)) in refusal(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 of TABLE is not JSON"),
        ("[" * 100_000, "line 2 of TABLE is not JSON"),
        ('["a.png", "cat"]', "line 2 of TABLE is not an object"),
        ('{"image": "b.png", "label": 0.5}', "line 2 of TABLE: `label` is 0.5"),
        ('{"image": "b.png", "label": true}', "line 2 of TABLE: `label` is true"),
        ('{"image": "b.png", "label": ["cat"]}', 'line 2 of TABLE: `label` is ["cat"]'),
        ('{"image": "b.png"}', "line 2 of TABLE has no `label`"),
        ('{"image": "\\ud800.png", "label": "cat"}', "line 2 of TABLE: `image` is"),
    ],
)
def test_lines_that_are_no_rows_are_refused(tmp_path: Path, line: str, message: str) -> None:
    path = write_table(tmp_path, f'{{"image": "a.png", "label": "cat"}}\n{line}\n', "photos.jsonl")
    assert message.replace("TABLE", str(path)) in refusal(path)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path, "")
    path.write_bytes("image,label\na.png,caf\u00e9\n".encode("latin-1"))
    assert f"{path} is not UTF-8" in refusal(path)


def test_missing_files_are_left_to_the_check_where_bad_ones_are_skipped(tmp_path: Path) -> None:
    path = write_table(tmp_path, csv_of([*ROWS, ("none.png", "cat")]))
    assert len(opened(path, hold=False, on_error="skip").train) == 5


def test_an_image_that_cannot_be_read_is_named_with_its_line(tmp_path: Path) -> None:
    path = write_table(tmp_path, csv_of(ROWS))
    (tmp_path / "b.png").write_bytes(b"text")
    with pytest.raises(ImageError, match=r"cannot read .*/b\.png \(line 3 of photos\.csv\): it is not an image"):
        opened(path, hold=False).train.read(1)


def test_a_sample_of_a_table_is_selected_with_its_line(tmp_path: Path) -> None:
    train = opened(write_table(tmp_path, csv_of(ROWS)), hold=False).train.select([2, 0])
    assert [train.name(i).rpartition(" (")[2] for i in range(2)] == ["line 4 of photos.csv)", "line 2 of photos.csv)"]


def test_the_digest_is_the_same_elsewhere_and_changes_with_a_label(tmp_path: Path) -> None:
    here, there = (write_table(tmp_path / place, csv_of(ROWS)) for place in ("here", "there"))
    assert data_digest(opened(here)) == data_digest(opened(there))
    there.write_text(csv_of([(image, label.replace("cat", "bird")) for image, label in ROWS]))
    assert data_digest(opened(here)) != data_digest(opened(there))


@pytest.mark.parametrize(
    ("splits", "judged"),
    [
        (("train", "val", "test", "val"), [1, 3]),
        (("train", "train", "test", "train"), [2]),
        (("train", "train", "train", "train"), [0, 1, 2, 3]),
    ],
)
def test_a_model_is_judged_by_val_or_test_or_all(tmp_path: Path, splits: tuple[str, ...], judged: list[int]) -> None:
    rows = [(*row, split) for row, split in zip(ROWS, splits, strict=True)]
    path = write_table(tmp_path, csv_of(rows, "image,label,split"))
    samples, is_part = find_opener("classification", path).labelled(path, Data(), ["dog", "cat"], None)
    assert is_part == (len(judged) < len(ROWS))
    assert found(samples, tmp_path) == [(ROWS[i][0], int(ROWS[i][1] == "cat")) for i in judged]


def test_a_label_that_the_model_lacks_is_named_with_its_line(tmp_path: Path) -> None:
    path = write_table(tmp_path, csv_of(ROWS))
    with pytest.raises(ConvsmithError, match=r"line 3 of .* has the label `dog`, which the model lacks"):
        find_opener("classification", path).labelled(path, Data(), ["cat", "bird"], None)


def masks_table(root: Path) -> Path:
    write_folders(root, "a", "b", "c")
    rows = [(f"images/{it}.jpg", f"masks/{it}.png", split) for it, split in zip("abc", ("train", "train", "val"))]  # noqa: B905
    (root / "pairs.csv").write_text(csv_of(rows, "image,mask,split"))
    return root / "pairs.csv"


def test_a_table_of_images_and_masks_is_for_segmentation(tmp_path: Path) -> None:
    path = masks_table(tmp_path)
    assert task_of(path) == "segmentation"
    data = open_data("segmentation", Data(), path)
    assert (data.classes, len(data.train), len(data.val)) == (("sky", "road", "car"), 2, 1)
    assert data.val.read(0)[1].tolist() == [[0] * 6] * 4


def test_a_mask_at_fault_is_named_with_its_line(tmp_path: Path) -> None:
    path = masks_table(tmp_path)
    (tmp_path / "masks/c.png").write_bytes(b"text")
    with pytest.raises(ImageError, match=r"its mask .*/masks/c\.png \(line 4 of pairs\.csv\): it is not an image"):
        open_data("segmentation", Data(), path).val.read(0)


def test_a_model_is_judged_by_the_masks_of_val(tmp_path: Path) -> None:
    path = masks_table(tmp_path)
    opener = find_opener("segmentation", path)
    assert len(opener.labelled(path, Data(), ("sky", "road", "car"), None)[0]) == 1
    with pytest.raises(ConvsmithError, match="has other classes than the bundle"):
        opener.labelled(path, Data(), ("sky", "road"), None)


def test_only_files_that_are_tables_are_known(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    assert is_known(write_table(tmp_path, csv_of(ROWS)))
    assert not any(is_known(tmp_path / name) for name in (".", "folder.csv", "none.csv", "a.png"))
