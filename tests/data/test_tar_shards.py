"""Tar shards as data: what they are taken for, and what is refused."""

from __future__ import annotations

import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convsmith.analyze.chosen import run_directory
from convsmith.bundle.images.image_error import ImageError
from convsmith.data.dataset import Samples
from convsmith.data.digest import data_digest
from convsmith.data.open_data import open_data
from convsmith.data.shards import shard_index
from convsmith.data.shards.shard_paths import ShardPaths, expand_braces
from convsmith.data.shards.shard_samples import Found, find_samples
from convsmith.data.source import find_opener, is_known, task_of
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from convsmith.recipe.layers import override_layer
from tests.data.folders import png, write_files, write_noise
from tests.data.masks import plain
from tests.data.shards import labelled, tar, write_shards

ROWS = [("a", "cat"), ("b", "dog"), ("sub/c", "cat"), ("sub/d", "dog")]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))


def opened(path: Path, hold: bool = True, task: str = "classification", **section: Any) -> Any:
    return open_data(task, Data(val_fraction=0.5, **section), path, hold_out=hold)


def found(samples: Samples) -> list[tuple[str, int]]:
    """The shard and member of each image, and its class."""
    names = [samples.name(i).rpartition("/data/")[2] for i in range(len(samples))]
    return [(name, int(target)) for name, target in zip(names, samples.targets, strict=True)]


def refusal(path: Path, task: str = "classification") -> str:
    with pytest.raises(ConvsmithError) as caught:
        opened(path, task=task)
    return str(caught.value)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_the_samples_of_a_shard_are_images_with_classes(data: Path) -> None:
    folder = opened(write_shards(data, {"s.tar": ROWS}) / "s.tar", hold=False)
    assert folder.classes == ("cat", "dog")
    names = ["a.png", "b.png", "sub/c.png", "sub/d.png"]
    assert found(folder.train) == [(f"s.tar: {name}", i % 2) for i, name in enumerate(names)]
    assert folder.train.read(1)[0].getpixel((0, 0)) == (1, 100, 50)


def test_every_member_reads_as_the_bytes_that_were_written(data: Path) -> None:
    members = labelled(*ROWS)
    (data).mkdir()
    (data / "s.tar").write_bytes(tar(members))
    train = opened(data, hold=False).train
    contents = [train.contents(i)[0] for i in range(len(train))]
    assert [it.read() for it in contents] == [members[f"{key}.png"] for key, _ in ROWS]
    with contents[2].open() as file:
        assert (file.seek(0, os.SEEK_END), file.read(), file.seek(-4, os.SEEK_CUR)) == (len(png()), b"", len(png()) - 4)
        assert file.read(10) == members["sub/c.png"][-4:]


@pytest.mark.parametrize(
    ("label", "member"),
    [
        (b" cat\n", "cls"),
        (b"\xef\xbb\xbfcat", "cls"),
        (b'{"label": "cat"}', "json"),
        (b'{"width": 3, "class": "cat"}', "JSON"),
        (b'{"class_name": "cat"}', "json"),
    ],
)
def test_a_label_is_text_or_a_key_of_json(data: Path, label: bytes, member: str) -> None:
    data.mkdir()
    (data / "s.tar").write_bytes(tar({"a.jpg": png(), f"a.{member}": label, "b.cls": b"dog", "b.PNG": png()}))
    assert opened(data, hold=False).classes == ("cat", "dog")


@pytest.mark.parametrize(("letters", "is_kept"), [(1024, True), (1025, False)])
def test_a_label_in_json_has_at_most_so_many_letters(data: Path, letters: int, is_kept: bool) -> None:
    data.mkdir()
    label = json.dumps({"label": "c" * letters}).encode()
    (data / "s.tar").write_bytes(tar({"a.png": png(), "a.json": label, "b.png": png(), "b.cls": b"dog"}))
    if is_kept:
        assert opened(data, hold=False).classes == ("c" * letters, "dog")
    else:
        with pytest.raises(ConvsmithError, match="label"):
            opened(data, hold=False)


def test_whole_numbers_are_classes_in_their_order(data: Path) -> None:
    folder = opened(write_shards(data, {"s.tar": [("a", "10"), ("b", "9"), ("c", "2")]}), hold=False)
    assert (folder.classes, folder.train.targets.tolist()) == (("2", "9", "10"), [2, 1, 0])


def test_numbers_too_large_for_a_class_are_names(data: Path) -> None:
    folder = opened(write_shards(data, {"s.tar": [("a", "9" * 10), ("b", "10")]}), hold=False)
    assert folder.classes == ("10", "9" * 10)
    folder = opened(write_shards(data, {"s.tar": [("a", "1" + "0" * 9), ("b", "9")]}), hold=False)
    assert folder.classes == ("1" + "0" * 9, "9")


def test_whole_numbers_are_named_by_a_file_beside_the_shards(data: Path) -> None:
    write_shards(data, {"s.tar": [("a", "1"), ("b", "0")]})
    (data / "classes.txt").write_text("dog\ncat\n")
    folder = opened(data, hold=False)
    assert (folder.classes, folder.train.targets.tolist()) == (("dog", "cat"), [1, 0])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("dog\n", "s.tar: a.png has the label 1, and"),
        ("dog\ncat\nbird\n", "no training images for `bird`"),
        ("dog\ndog\n", "the class name `dog` stands twice"),
    ],
)
def test_names_that_do_not_fit_the_numbers_are_refused(data: Path, names: str, message: str) -> None:
    write_shards(data, {"s.tar": [("a", "1"), ("b", "0")]})
    (data / "classes.txt").write_text(names)
    assert message in refusal(data)


def test_thousands_of_classes_may_be_named(data: Path) -> None:
    write_shards(data, {"s.tar": [(f"k{i}", str(i)) for i in range(1000)]})
    (data / "classes.txt").write_text("".join(f"class {i}\n" for i in range(1000)))
    assert len(opened(data, hold=False).classes) == 1000


@pytest.mark.parametrize(
    "names",
    [
        ("train/0.tar", "val/0.tar"),
        ("training/0.tar", "valid/0.tar"),
        ("train-0.tar", "val-0.tar"),
        ("imagenet1k-train-0000.tar", "imagenet1k-validation-00.tar"),
        ("Train_0.tar", "VAL_0.tar"),
    ],
)
def test_the_split_is_in_the_folder_or_in_the_name(data: Path, names: tuple[str, str]) -> None:
    folder = opened(write_shards(data, {names[0]: ROWS, names[1]: ROWS[:2]}))
    assert (len(folder.train), len(folder.val)) == (4, 2)
    assert folder.notes == ()


def test_shards_of_a_test_are_left_out_with_a_note(data: Path) -> None:
    folder = opened(write_shards(data, {"train-0.tar": ROWS, "val-0.tar": ROWS, "test-0.tar": ROWS[:3]}))
    assert "left out: 3 samples of the split `test`" in folder.notes


def test_without_a_split_a_share_of_each_class_is_held_out_with_a_note(data: Path) -> None:
    folder = opened(write_shards(data, {"s.tar": ROWS}))
    assert (sorted(folder.train.targets), sorted(folder.val.targets)) == ([0, 1], [0, 1])
    assert "held out 2 of 4 images" in folder.notes[0]


@pytest.mark.parametrize(
    "pattern", ["{train,val}-{000..002}.tar", "*.tar", "", "{train-*,val-00{0..2}}.tar", "t*-00?.tar"]
)
def test_a_pattern_names_several_shards(data: Path, pattern: str) -> None:
    splits = [f"{split}-{i:03}.tar" for split in ("train", "val") for i in range(3)]
    write_shards(data, {name: [(f"{name[:-4]}{key}", label) for key, label in ROWS[:2]] for name in splits})
    folder = opened(data / pattern, hold=False)
    assert len(folder.train) == 6
    assert len(folder.val) == (0 if pattern.startswith("t") else 6)
    assert folder.root == data


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("a.tar", ["a.tar"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}{0..1}", ["a0", "a1", "b0", "b1"]),
        ("{a}", ["a"]),
        ("{a,b{1..2}}c", ["ac", "b1c", "b2c"]),
        ("{a", ["{a"]),
        ("a}", ["a}"]),
    ],
)
def test_braces_are_those_of_a_shell(pattern: str, texts: list[str]) -> None:
    assert expand_braces(pattern) == texts


def test_braces_of_a_million_files_and_more_are_refused() -> None:
    for pattern in ("{0..999999999}", "{0..1000000}", "{0..9999}{0..9999}", "{0..99}" * 20):
        with pytest.raises(ConvsmithError, match="names more than 1,000,000 files"):
            expand_braces(pattern)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("s-{0..2}.tar", "there is no DATA/s-1.tar: DATA/s-{0..2}.tar names it"),
        ("x-*.tar", "no file matches DATA/x-*.tar"),
        ("{s-0,s-0}.tar", "names DATA/s-0.tar twice"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(data: Path, pattern: str, message: str) -> None:
    write_shards(data, {"s-0.tar": ROWS, "s-2.tar": ROWS})
    assert message.replace("DATA", str(data)) in refusal(data / pattern)


def test_a_pattern_that_the_shell_has_replaced_is_told() -> None:
    with pytest.raises(ConvsmithError, match=r"`s-001\.tar` is not key=value\nPut a pattern .* in quotes"):
        override_layer(["s-001.tar"])


@pytest.mark.parametrize(
    ("given", "name"), [("photos-{000..012}.tar", "photos"), ("shards/*.tar", "shards"), ("photos.tar", "photos")]
)
def test_a_run_is_called_as_what_a_pattern_begins_with(data: Path, given: str, name: str) -> None:
    assert run_directory(data / given).name == name


def test_only_shards_and_nothing_else_are_known(data: Path) -> None:
    write_shards(data, {"a.tar": ROWS, "beside/a.tar": ROWS, "beside/train/x/y.tar": ROWS})
    write_files(data / "classes", "cat/a.png", "dog/b.png", "backup.tar")
    assert all(is_known(data / name) for name in ("a.tar", "*.tar", "{a,b}.tar"))
    assert not any(is_known(data / name) for name in ("", "beside", "classes", "classes/cat", "none.tar", "{a,b}.png"))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.cls": b"cat"}, "holds a sample `a` of `.cls`"),
        ({"./v1.0/a.cls": b"cat"}, "holds a sample `./v1.0/a` of `.cls`"),
        ({"a.png": png(), "a.v2.png": png(), "a.cls": b"1"}, "holds a sample `a` of `.png`, `.v2.png`, `.cls`"),
        ({"a.png": png(), "b.png": png(), "a.cls": b"1"}, "holds a sample `a` of `.cls`"),
        ([("a.png", png()), ("a.png", png())], "holds `a.png` twice"),
        ({"a.png": png()}, "1 sample without a label, such as DATA/s.tar: a.png"),
        ({"a.png": png(), "a.cls": b" \n"}, "`a.cls` in DATA/s.tar is empty"),
        ({"a.png": png(), "a.cls": b"\xff"}, "`a.cls` in DATA/s.tar is not UTF-8"),
        ({"a.png": png(), "a.cls": b"a\0"}, "`a.cls` in DATA/s.tar is not text"),
        ({"a.png": png(), "a.cls": b"x" * 2000}, "`a.cls` in DATA/s.tar has 2,000 bytes"),
        ({"a.png": png(), "a.json": b"{"}, "`a.json` in DATA/s.tar is not JSON"),
        ({"a.png": png(), "a.json": b'{"label": 1}' + b" " * 2**20}, "`a.json` in DATA/s.tar has 1,048,588 bytes"),
        ({"a.png": png(), "a.json": b"[" * 99999}, "`a.json` in DATA/s.tar is not JSON"),
        ({"a.png": png(), "a.json": b'{"label": 1' + b"0" * 9999 + b"}"}, "`a.json` in DATA/s.tar is not JSON"),
        ({"a.png": png(), "a.json": b'{"label": 0.5}'}, "1 sample without a label"),
        ({"a.png": png(), "a.json": b'{"label": true}'}, "1 sample without a label"),
        ({"a.png": png(), "a.cls": b"cat"}, "only one class in DATA: `cat`"),
        ({"a.txt": b"text"}, "holds a sample `a` of `.txt`"),
        ({"a": b"text", ".b.png": png(), "__MACOSX/a.png": png()}, "no samples in DATA/s.tar"),
        ({}, "no samples in DATA/s.tar"),
    ],
)
def test_what_is_not_a_sample_is_refused_with_shard_and_member(data: Path, members: Any, message: str) -> None:
    data.mkdir()
    (data / "s.tar").write_bytes(tar(members))
    assert message.replace("DATA", str(data)) in refusal(data)


@pytest.mark.parametrize(
    ("shards", "named"), [(1, "a-0.tar"), (2, "a-0.tar and 1 more shard"), (3, "a-0.tar and 2 more shards")]
)
def test_shards_without_a_sample_are_counted(data: Path, shards: int, named: str) -> None:
    data.mkdir()
    for number in range(shards):
        (data / f"a-{number}.tar").write_bytes(tar({}))
    assert refusal(data).startswith(f"no samples in {data}/{named}: ")


def test_members_that_are_not_used_are_told(data: Path) -> None:
    data.mkdir()
    members = labelled(*ROWS) | {"sub/d.txt": b"words", "sub/d.caption.txt": b"", "README": b""}
    (data / "s.tar").write_bytes(tar(members))
    assert opened(data).notes[0] == "left out, not images: 1 without a key, 1 .txt, 1 .caption.txt"


def test_a_split_that_some_shards_lack_is_refused(data: Path) -> None:
    write_shards(data, {"train-0.tar": ROWS, "more-0.tar": ROWS})
    assert f"1 of 2 shards say no split, such as {data}/more-0.tar" in refusal(data)


def test_shards_to_validate_on_alone_are_refused(data: Path) -> None:
    assert "none of the shards" in refusal(write_shards(data, {"val-0.tar": ROWS}))


def test_a_compressed_shard_is_refused_in_words(data: Path) -> None:
    import gzip

    data.mkdir()
    (data / "s.tar.gz").write_bytes(gzip.compress(tar(labelled(*ROWS))))
    for path in (data, data / "s.tar.gz"):
        assert f"{data}/s.tar.gz is not a plain tar archive: it is compressed (gzip)" in refusal(path)


def test_an_image_that_cannot_be_read_is_named_by_shard_and_member(data: Path) -> None:
    data.mkdir()
    (data / "s.tar").write_bytes(tar({"a.png": b"text", "a.cls": b"cat", "b.png": png(), "b.cls": b"dog"}))
    train = opened(data, hold=False).train
    for read in (train.read, lambda i: train.look(i, True), lambda i: train.look(i, False)):
        with pytest.raises(ImageError, match=rf"cannot read {data}/s\.tar: a\.png: it is not an image"):
            read(0)


# The index


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The shards that are read from now on."""
    read: list[Path] = []

    def find(shards: ShardPaths, number: int) -> Found:
        read.append(shards.paths[number])
        return find_samples(shards, number)

    monkeypatch.setattr(shard_index, "find_samples", find)
    return read


def test_the_index_is_made_once_and_again_when_a_shard_changes(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shards(data, {"train-0.tar": ROWS, "val-0.tar": ROWS})
    read = reads(monkeypatch)
    first = opened(data)
    assert [path.name for path in read] == ["train-0.tar", "val-0.tar"]
    again = opened(data)
    assert len(read) == 2
    assert (found(again.train), data_digest(again)) == (found(first.train), data_digest(first))
    write_shards(data, {"val-0.tar": ROWS[:2]})
    assert len(opened(data).val) == 2
    assert len(read) == 4


def test_an_index_that_cannot_be_kept_is_made_each_time(data: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    write_shards(data, {"s.tar": ROWS})
    assert len(opened(data, hold=False).train) == 4


@pytest.mark.parametrize("damage", [b"", b"{", b"\x93NUMPY"])
def test_an_index_that_is_damaged_is_made_again(data: Path, tmp_path: Path, damage: bytes) -> None:
    write_shards(data, {"s.tar": ROWS})
    opened(data)
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.suffix in (".npy", ".json")]
    assert len(kept) == 10
    for path in kept:
        path.write_bytes(damage)
        assert len(opened(data, hold=False).train) == 4


def test_shards_are_read_in_several_processes_to_the_same_index(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shards(data, {f"{i}.tar": [(f"{i}{key}", label) for key, label in ROWS] for i in range(5)})
    paths = ShardPaths(data, tuple(sorted(data.iterdir())), ("",) * 5)
    alone = shard_index._read(paths, 0)
    monkeypatch.setattr(shard_index, "available_cores", lambda: 2)
    shared = shard_index._read(paths, 2**40)
    for one, other in ((alone.images, shared.images), (alone.masks, shared.masks)):
        assert one.places.tolist() == other.places.tolist()
        assert (one.buffer.tobytes(), one.offsets.tolist()) == (other.buffer.tobytes(), other.offsets.tolist())
    assert (alone.labels.tolist(), alone.names) == (shared.labels.tolist(), shared.names)


def test_a_shard_that_changes_while_it_is_used_is_a_bad_file(data: Path) -> None:
    train = opened(write_shards(data, {"s.tar": ROWS}), hold=False).train
    write_shards(data, {"s.tar": ROWS[::-1]})
    with pytest.raises(ImageError, match=r"s\.tar: a\.png: its shard has changed since its index was made"):
        train.read(0)


def test_the_digest_is_the_same_elsewhere_and_changes_with_a_label(data: Path, tmp_path: Path) -> None:
    here, there = (write_shards(tmp_path / place, {"s.tar": ROWS}) for place in ("here", "there"))
    assert data_digest(opened(here)) == data_digest(opened(there))
    write_shards(there, {"s.tar": [*ROWS[:3], ("sub/d", "cat")]})
    assert data_digest(opened(here)) != data_digest(opened(there))


def test_samples_are_selected_and_go_to_other_processes(data: Path) -> None:
    train = opened(write_shards(data, {"s.tar": ROWS}), hold=False).train
    chosen = pickle.loads(pickle.dumps(train.select([2, 0])))
    assert found(chosen) == [found(train)[2], found(train)[0]]
    assert chosen.names.tolist() == train.names[[2, 0]].tolist()
    assert chosen.stats.tolist() == train.stats[[2, 0]].tolist()
    assert np.array_equal(train.select(np.arange(1, 3)).read(0)[0], train.read(1)[0])


# Judging


@pytest.mark.parametrize(
    ("shards", "judged"), [(("train", "val", "test"), "val"), (("train", "test"), "test"), (("train",), "train")]
)
def test_a_model_is_judged_by_val_or_test_or_all(data: Path, shards: tuple[str, ...], judged: str) -> None:
    write_shards(data, {f"{split}-0.tar": [(split, "cat"), (f"{split}2", "dog")] for split in shards})
    samples, is_part = find_opener("classification", data).labelled(data, Data(), ["dog", "cat"], None)
    assert (found(samples)[0], is_part) == ((f"{judged}-0.tar: {judged}.png", 1), judged != "train")


def test_a_label_that_the_model_lacks_is_named_with_its_sample(data: Path) -> None:
    write_shards(data, {"s.tar": ROWS})
    with pytest.raises(ConvsmithError, match=r"s\.tar: b\.png has the label `dog`, which the model lacks"):
        find_opener("classification", data).labelled(data, Data(), ["cat", "bird"], None)


# Masks


@pytest.mark.parametrize(
    "names", [("jpg", "png"), ("png", "mask.png"), ("webp", "seg.png"), ("image.png", "label.png")]
)
def test_samples_with_masks_are_for_segmentation(data: Path, names: tuple[str, str]) -> None:
    data.mkdir()
    (data / "classes.txt").write_text("sky\nroad\n")
    for split in ("train", "val"):
        members = {f"{key}.{end}": it for key in "ab" for end, it in zip(names, (png(), plain(1)), strict=True)}
        (data / f"{split}.tar").write_bytes(tar(members))
    assert task_of(data) == "segmentation"
    folder = opened(data, task="segmentation")
    assert (folder.classes, len(folder.train), len(folder.val)) == (("sky", "road"), 2, 2)
    assert folder.val.read(0)[1].tolist() == [[1] * 6] * 4
    samples, is_part = find_opener("segmentation", data).labelled(data, Data(), ("sky", "road"), None)
    assert (len(samples), is_part) == (2, True)


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "NPY"])
def test_the_mask_of_a_sample_may_be_of_each_kind(data: Path, kind: str) -> None:
    data.mkdir()
    (data / "classes.txt").write_text("sky\nroad\n")
    mask, values = io.BytesIO(), np.ones((4, 6), np.uint8)
    np.save(mask, values) if kind == "NPY" else Image.fromarray(values).save(mask, kind)
    (data / "s.tar").write_bytes(tar({"a.jpg": png(), f"a.mask.{kind.lower()}": mask.getvalue(), "a.npy": b"features"}))
    dataset = opened(data, hold=False, task="segmentation")
    assert dataset.train.read(0)[1].tolist() == values.tolist()
    assert dataset.notes == ("left out, not images: 1 .npy",)


def test_a_mask_that_lacks_or_cannot_be_read_is_named(data: Path) -> None:
    data.mkdir()
    (data / "classes.txt").write_text("sky\nroad\n")
    (data / "s.tar").write_bytes(tar({"a.jpg": png(), "a.png": b"text", "b.jpg": png(), "b.png": plain(0)}))
    with pytest.raises(ImageError, match=rf"its mask {data}/s\.tar: a\.png: it is not an image"):
        opened(data, hold=False, task="segmentation").train.read(0)
    (data / "s.tar").write_bytes(tar({"a.jpg": png(), "a.png": plain(0), "b.jpg": png()}))
    assert f"1 sample without a mask, such as {data}/s.tar: b.jpg" in refusal(data, "segmentation")


def test_what_has_labels_and_masks_is_for_both(data: Path) -> None:
    data.mkdir()
    (data / "classes.txt").write_text("sky\nroad\n")
    members = {f"{key}.{end}": it for key in "ab" for end, it in (("jpg", png()), ("png", plain(0)))}
    labels = {"a.cls": b"0", "b.json": json.dumps({"label": 1}).encode()}
    (data / "s.tar").write_bytes(tar(dict(sorted((members | labels).items()))))
    assert task_of(data) == "classification"
    assert len(opened(data, hold=False).train) == len(opened(data, hold=False, task="segmentation").train) == 2


# Several labels


def write_sets(data: Path, sets: list[object], name: str = "s.tar") -> Path:
    data.mkdir(exist_ok=True)
    members = [
        (f"{i}.{end}", it)
        for i, labels in enumerate(sets)
        for end, it in (("png", png()), ("json", json.dumps({"labels": labels}).encode()))
    ]
    (data / name).write_bytes(tar(members))
    return data


SETS: list[object] = [["cat"], ["dog", "cat"], [], ["dog", "bird"], [3, "cat"]]


def test_a_list_of_labels_is_for_several_labels(data: Path) -> None:
    write_sets(data, SETS)
    assert task_of(data) == "multilabel"
    folder = opened(data, hold=False, task="multilabel")
    assert folder.classes == ("3", "bird", "cat", "dog")
    rows = [folder.train.read(i)[1].tolist() for i in range(5)]
    assert rows == [[0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1], [1, 0, 1, 0]]


def test_names_beside_the_shards_give_the_order_of_several_labels(data: Path) -> None:
    write_sets(data, SETS[:4])
    (data / "classes.txt").write_text("dog\ncat\nbird\n")
    assert opened(data, hold=False, task="multilabel").classes == ("dog", "cat", "bird")
    (data / "classes.txt").write_text("dog\ncat\nbird\nfish\n")
    assert "no image to train on with `fish`" in refusal(data, "multilabel")


def test_no_class_is_held_out_of_training(data: Path) -> None:
    folder = opened(write_sets(data, SETS * 3 + [["fish"]]), task="multilabel")
    assert folder.train.labels.counts().all()
    assert len(folder.val) > 0


@pytest.mark.parametrize("labels", [[""], [0.5], [True], [None], ["a|b"], [["a"]]])
def test_labels_that_are_none_are_refused(data: Path, labels: list[object]) -> None:
    assert f"`1.json` in {data}/s.tar has `labels` that are none" in refusal(write_sets(data, [["cat"], labels]))


def test_samples_without_a_list_are_refused_where_others_have_one(data: Path) -> None:
    write_sets(data, SETS)
    (data / "t.tar").write_bytes(tar({"a.png": png()}))
    assert f"1 sample without labels, such as {data}/t.tar: a.png" in refusal(data, "multilabel")
    assert f"6 samples without a label, such as {data}/s.tar: 0.png" in refusal(data)


def test_several_labels_judge_a_model(data: Path) -> None:
    write_sets(write_sets(data, SETS, "train-0.tar"), SETS[:2], "val-0.tar")
    judge = find_opener("multilabel", data).labelled
    samples, is_part = judge(data, Data(), ["dog", "cat"], None)
    assert ([samples.read(i)[1].tolist() for i in range(2)], is_part) == ([[0, 1], [1, 1]], True)
    with pytest.raises(ConvsmithError, match=r"val-0\.tar: 1\.png has the label `dog`, which the model lacks"):
        judge(data, Data(), ["bird", "cat"], None)


def test_the_digest_changes_with_the_name_of_a_class(data: Path, tmp_path: Path) -> None:
    digests = set()
    for name in ("cat", "cow"):
        write_shards(tmp_path / name, {"s.tar": [("a", name), ("b", "dog")]})
        digests.add(opened(tmp_path / name, hold=False).names_digest)
    assert len(digests) == 2


def test_a_folder_of_images_is_left_to_its_own_source(data: Path) -> None:
    assert not is_known(write_noise(data, 4))
