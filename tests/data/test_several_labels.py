"""Tables whose images have several labels: what they are taken for, how they are split, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.data.open_data import open_data
from convsmith.data.packed_labels import PackedLabels, rows_to_keep
from convsmith.data.source import find_opener, task_of
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from tests.data.folders import write_files

ROWS = [("a.png", "cat|dog"), ("b.png", "dog"), ("sub/c.png", ""), ("sub/d.png", "eel|cat")]
MATRIX = [[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]
TRUTH = [(image, *row) for (image, _), row in zip(ROWS, MATRIX, strict=True)]
ONE_HOT = "image,cat,dog,eel\n" + "".join(f"{','.join(map(str, row))}\n" for row in TRUTH)


def write_table(root: Path, text: str, name: str = "photos.csv", images: Sequence[str] = ()) -> Path:
    write_files(root, *(images or [image for image, _ in ROWS]))
    (root / name).write_text(text)
    return root / name


def csv_of(rows: Sequence[Sequence[str]], header: str = "image,labels") -> str:
    return "\n".join([header, *map(",".join, rows)]) + "\n"


def opened(path: Path, hold: bool = False, val_fraction: float = 0.5) -> Any:
    return open_data("multilabel", Data(val_fraction=val_fraction), path, hold_out=hold)


def matrix(samples: Any) -> list[list[int]]:
    return [samples.target(i).tolist() for i in range(len(samples))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("photos.csv", csv_of(ROWS)),
        ("tags.csv", csv_of(ROWS, "path,Tags")),
        ("photos.tsv", csv_of(ROWS).replace(",", "\t")),
        ("spaces.csv", csv_of(ROWS).replace("|", " | ")),
        ("twice.csv", csv_of(ROWS).replace("cat|dog", "dog|cat|dog|")),
        ("photos.jsonl", "".join(json.dumps({"image": i, "labels": t.split("|")}) + "\n" for i, t in ROWS)),
        ("text.jsonl", "".join(json.dumps({"image": i, "labels": t}) + "\n" for i, t in ROWS)),
        ("columns.csv", ONE_HOT),
        ("turned.csv", "".join(f"{','.join(line.split(',')[::-1])}\n" for line in ONE_HOT.split())),
        ("pandas.csv", "\n".join(f"{i - 1 if i else 'Unnamed: 0'},{line}" for i, line in enumerate(ONE_HOT.split()))),
        ("floats.csv", ONE_HOT.replace(",1", ",1.0").replace(",0", ",0.0")),
        ("words.csv", ONE_HOT.replace(",1", ",True").replace(",0", ",False")),
        ("bools.jsonl", "".join(json.dumps({"image": i, "cat": bool(a), "dog": b, "eel": c}) + "\n" for i, a, b, c in TRUTH)),  # noqa: E501
    ],
)  # fmt: skip
def test_the_rows_of_a_table_are_images_with_several_labels(tmp_path: Path, name: str, text: str) -> None:
    path = write_table(tmp_path, text, name)
    folder = opened(path)
    assert task_of(path) == "multilabel"
    assert (folder.classes, matrix(folder.train)) == (("cat", "dog", "eel"), MATRIX)


def test_how_labels_are_written_does_not_change_the_digest(tmp_path: Path) -> None:
    texts = (csv_of(ROWS), csv_of(ROWS).replace("cat|dog", "dog|cat"), ONE_HOT)
    assert len({opened(write_table(tmp_path, text)).names_digest for text in texts}) == 1


@pytest.mark.parametrize("other", ["cat", "cat|dog|eel", "dog|eel"])
def test_other_labels_of_one_image_change_the_digest(tmp_path: Path, other: str) -> None:
    before, after = (
        opened(write_table(tmp_path, csv_of([(ROWS[0][0], labels), *ROWS[1:]]))).names_digest
        for labels in (ROWS[0][1], other)
    )
    assert before != after


@pytest.mark.parametrize(
    ("header", "row", "task"),
    [
        ("image,label,labels", "a.png,cat,cat|dog", "classification"),
        ("image,mask,labels", "a.png,a.png,cat", "segmentation"),
        ("image,cat", "a.png,1", "classification"),
        ("image,cat,width", "a.png,1,0", "classification"),
        ("image,cat,dog,split", "a.png,1,0,train", "multilabel"),
        ("image,cat,dog,photographer", "a.png,1,0,me", "multilabel"),
    ],
)
def test_columns_say_the_task(tmp_path: Path, header: str, row: str, task: str) -> None:
    assert task_of(write_table(tmp_path, f"{header}\n{row}\n")) == task


@pytest.mark.parametrize("text", [csv_of(ROWS), ONE_HOT], ids=["cell", "columns"])
def test_a_recipe_for_one_class_says_what_the_table_is_for(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConvsmithError, match=r"several labels to an image.*\nAdd task=multilabel"):
        open_data("classification", Data(), write_table(tmp_path, text))


def test_columns_of_something_else_than_0_and_1_are_left_out_with_a_note(tmp_path: Path) -> None:
    text = ONE_HOT.replace("eel\n", "eel,by\n").replace("0\n", "0,me\n").replace("1\n", "1,me\n")
    folder = opened(write_table(tmp_path, text))
    assert folder.classes == ("cat", "dog", "eel")
    assert folder.notes[0] == "left out, columns of photos.csv that are not used: `by`"


def test_a_column_says_the_split_and_val_may_lack_labels(tmp_path: Path) -> None:
    rows = [(*row, split) for row, split in zip(ROWS, ("train", "val", "train", "train"), strict=True)]
    folder = opened(write_table(tmp_path, csv_of(rows, "image,labels,split")), hold=True)
    assert (matrix(folder.train), matrix(folder.val)) == ([MATRIX[0], MATRIX[2], MATRIX[3]], [MATRIX[1]])
    assert "no validation images for `cat`, `eel`" in folder.notes


def test_of_rare_labels_a_share_is_held_out_though_each_set_of_labels_occurs_once(tmp_path: Path) -> None:
    """40 images with sets that differ all: by whole sets none could be spared."""
    numbers = [format(i + 1, "06b") for i in range(40)]
    names = [f"{i}.png" for i in range(40)]
    text = "image,a,b,c,d,e,f\n" + "".join(
        f"{name},{','.join(number)}\n" for name, number in zip(names, numbers, strict=True)
    )
    folder = opened(write_table(tmp_path, text, images=names), hold=True, val_fraction=0.25)
    counts = np.sum(matrix(folder.val), axis=0) / np.sum([[int(it) for it in number] for number in numbers], axis=0)
    assert 8 <= len(folder.val) <= 12
    assert (counts > 0.05).all()
    assert (np.sum(matrix(folder.train), axis=0) > 0).all()


def test_the_images_of_each_label_are_counted(tmp_path: Path) -> None:
    folder = opened(write_table(tmp_path, csv_of(ROWS)))
    assert folder.count_classes(np.array([0, 1, 3])).tolist() == [2, 2, 1]


def test_samples_with_the_same_labels_have_the_same_number(tmp_path: Path) -> None:
    rows = [("a.png", "cat|dog"), ("b.png", "dog|cat"), ("sub/c.png", "dog"), ("sub/d.png", "")]
    one, two, three, four = opened(write_table(tmp_path, csv_of(rows))).train.targets.tolist()
    assert one == two
    assert len({one, three, four}) == 3


@pytest.mark.parametrize("order", [("eel", "dog", "cat"), ("cat", "dog", "eel", "fox")])
def test_a_model_is_judged_in_the_order_of_its_own_classes(tmp_path: Path, order: tuple[str, ...]) -> None:
    path = write_table(tmp_path, csv_of(ROWS))
    samples, is_part = find_opener("multilabel", path).labelled(path, Data(), order, None)
    wanted = [[int(name in labels.split("|")) for name in order] for _, labels in ROWS]
    assert ([samples.read(i)[1].tolist() for i in range(4)], is_part) == (wanted, False)


def test_a_label_that_the_model_lacks_is_named_with_its_line(tmp_path: Path) -> None:
    path = write_table(tmp_path, csv_of(ROWS))
    with pytest.raises(ConvsmithError, match=r"line 5 of .* has the label `eel`, which the model lacks"):
        find_opener("multilabel", path).labelled(path, Data(), ("cat", "dog"), None)


def test_a_column_that_the_table_lacks_is_not_taken_for_no(tmp_path: Path) -> None:
    path = write_table(tmp_path, ONE_HOT)
    with pytest.raises(ConvsmithError, match="has no column for `fox`"):
        find_opener("multilabel", path).labelled(path, Data(), ("cat", "dog", "eel", "fox"), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,kind\na.png,cat\n", "TABLE has no labels: it has the columns `image`, `kind`"),
        ("image,labels\na.png,cat|dog\nb.png\n", "line 3 of TABLE has no `labels`"),
        ("image,cat,dog\na.png,1,0\nb.png,2,1\n", "line 3 of TABLE: `cat` is \"2\""),
        ("image,cat,dog\na.png,1,0\nb.png,,1\n", "line 3 of TABLE: `cat` is \"\""),
        ("image,cat,dog\na.png,1,0\nb.png,1,0\n", "TABLE has no image to train on with `dog`"),
        ("image,labels\na.png,cat\nb.png,cat\n", "TABLE has 1 label"),
        ("image,labels\na.png,\nb.png,\n", "TABLE has 0 labels"),
        ("image,labels,split\na.png,cat|dog,train\nb.png,fox,val\n", "line 3 of TABLE has the label `fox`, which"),
        ("image,labels,split\na.png,cat|dog,train\nb.png,,val\n", "no validation image of TABLE has a label"),
        ("image,labels\na.png,cat\nb.png,dog\n", "no images left for validation in TABLE"),
        ("image,labels\na.png,cat\nb.png,dog\na.png,dog\n", "line 4 of TABLE names the same image as line 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = write_table(tmp_path, text)
    with pytest.raises(ConvsmithError) as caught:
        opened(path, hold=True)
    assert message.replace("TABLE", str(path)) in str(caught.value)


@pytest.mark.parametrize("value", [3.5, [["cat"]], [1.5], {"cat": 1}, "a\0b", ["a\0b"]])
def test_labels_in_json_are_text(tmp_path: Path, value: object) -> None:
    path = write_table(tmp_path, json.dumps({"image": "a.png", "labels": value}) + "\n", "photos.jsonl")
    with pytest.raises(ConvsmithError, match=r"line 1 of .*: `labels` is .*text, or a whole number"):
        opened(path)


SETS = st.lists(st.sets(st.integers(0, 4)), max_size=12)


def packed(sets: Sequence[set[int]]) -> PackedLabels:
    pairs = [(i, k) for i, members in enumerate(sets) for k in members]
    rows = np.array([i for i, _ in pairs], np.int64)
    return PackedLabels.pack(rows, np.array([k for _, k in pairs], np.int32), (len(sets), 5))


@given(SETS, st.data())
def test_packed_labels_are_those_of_each_image(sets: list[set[int]], data: st.DataObject) -> None:
    labels = packed(sets)
    assert [set(np.flatnonzero(labels.row(i)).tolist()) for i in range(len(labels))] == sets
    assert labels.counts().tolist() == [sum(k in members for members in sets) for k in range(5)]
    chosen = data.draw(st.lists(st.integers(0, len(sets) - 1))) if sets else []
    assert [set(np.flatnonzero(row).tolist()) for row in map(labels.select(chosen).row, range(len(chosen)))] == [
        sets[i] for i in chosen
    ]


@given(SETS)
def test_equal_sets_have_equal_hashes_and_others_do_not(sets: list[set[int]]) -> None:
    hashes = packed(sets).hashes().tolist()
    assert [[one == other for other in hashes] for one in hashes] == [[one == other for other in sets] for one in sets]


@given(SETS, st.permutations(range(5)))
def test_the_rarest_class_is_that_of_the_fewest_images(sets: list[set[int]], counts: list[int]) -> None:
    expected = [min(members, key=lambda k: counts[k]) if members else 5 for members in sets]
    assert packed(sets).rarest(np.array(counts)).tolist() == expected


@given(SETS, SETS)
def test_a_class_that_only_images_held_out_have_gets_one_of_them_back(
    train: list[set[int]], val: list[set[int]]
) -> None:
    back = rows_to_keep(packed(train), packed(val))
    learned = set().union(*train, *(val[i] for i in np.flatnonzero(back)))
    assert learned == set().union(*train, *val)
    assert back.sum() <= len(set().union(*val) - set().union(*train))
