"""Data sets of Hugging Face: the same data as elsewhere, from a saved folder, Parquet files or the library's loader."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from convsmith.bundle.images.image_error import ImageError
from convsmith.data.digest import data_digest
from convsmith.data.open_data import open_data
from convsmith.data.source import find_opener, is_known, task_of
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data

NAMES = ["cat", "dog"]
LABELS = ([0, 1, 0, 1], datasets.ClassLabel(names=NAMES))


@pytest.fixture(autouse=True)
def _caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path_factory.mktemp("cache")))


def png(i: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.RandomState(i).randint(0, 256, (6, 8, 3), np.uint8)).save(content, "PNG")
    return content.getvalue()


def mask(i: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((6, 8), i % 2, np.uint8)).save(content, "PNG")
    return content.getvalue()


def images(count: int, content: Callable[[int], bytes] = png) -> list[dict[str, Any]]:
    return [{"bytes": content(i), "path": None} for i in range(count)]


def made(count: int = 6, **columns: Any) -> Any:
    """A data set of images with labels, or with these columns; values come with their features."""
    columns = {"image": (images(count), datasets.Image()), **columns}
    if len(columns) == 1:
        columns["label"] = ([i % 2 for i in range(count)], datasets.ClassLabel(names=NAMES))
    features = datasets.Features({name: feature for name, (_, feature) in columns.items()})
    return datasets.Dataset.from_dict({name: values for name, (values, _) in columns.items()}, features=features)


def saved(root: Path, dataset: Any) -> Path:
    dataset.save_to_disk(root / "saved")
    return root / "saved"


def one_file(root: Path, dataset: Any) -> Path:
    dataset.to_parquet(root / "all.parquet")
    return root / "all.parquet"


def folder(root: Path, dataset: Any) -> Path:
    dataset.to_parquet(root / "made/data/train-00000-of-00001.parquet")
    return root / "made"


def loaded(root: Path, dataset: Any) -> Path:
    """By the way that a name of the hub goes."""
    folder(root, dataset)
    return Path("hf:made")  # a folder of this name counts first for it


def opened(path: Path, task: str = "classification", hold: bool = False, **section: Any) -> Any:
    return open_data(task, Data.model_validate({"val_fraction": 0.5, **section}), path, hold_out=hold)


@pytest.fixture(params=[saved, one_file, folder, loaded], ids=lambda make: make.__name__)
def write(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Path]:
    """Writes a data set in each of the ways that one may come."""
    monkeypatch.chdir(tmp_path)

    def written(dataset: Any) -> Path:
        path: Path = request.param(tmp_path, dataset)
        return path

    return written


def test_images_have_the_classes_of_their_labels_and_their_own_bytes(write: Callable[[Any], Path]) -> None:
    path = write(made())
    assert is_known(path)
    assert task_of(path) == "classification"
    data = opened(path)
    assert data.classes == ("cat", "dog")
    assert data.train.targets.tolist() == [0, 1] * 3
    assert [data.train.contents(i)[0].read() for i in range(6)] == [png(i) for i in range(6)]


def test_the_data_are_the_same_however_they_come(tmp_path: Path) -> None:
    paths = [make(tmp_path, made()) for make in (saved, one_file, folder)]
    assert len({data_digest(opened(path, hold=True)) for path in paths}) == 1


def test_text_and_numbers_are_labels(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    text = made(label=(["emu", "eel"] * 3, datasets.Value("string")))
    numbers = made(target=([7, 10] * 3, datasets.Value("int32")))
    assert opened(saved(tmp_path / "a", text)).classes == ("eel", "emu")
    assert opened(saved(tmp_path, numbers)).classes == ("10", "7")


def test_splits_are_those_of_their_names_and_others_are_left_out(tmp_path: Path) -> None:
    parts = datasets.DatasetDict(train=made(4), validation=made(2), test=made(3), unsupervised=made(2))
    path = saved(tmp_path, parts)
    data = opened(path)
    assert (len(data.train), len(data.val)) == (4, 2)
    assert data.val.name(1) == f"`image` in row 1 of the split `val` of {path}"
    assert "left out: 3 rows of the split `test`" in data.notes
    assert "left out, splits of saved that are not used: `unsupervised`" in data.notes
    opener = find_opener("classification", path)
    assert [len(opener.labelled(path, Data(), NAMES, part)[0]) for part in (None, "test")] == [2, 3]


def test_classes_without_a_row_to_train_on_are_told(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["bird", *NAMES])
    parts = {"train": made(4, label=([1, 2, 1, 2], names)), "test": made(3, label=([0, 1, 2], names))}
    data = opened(saved(tmp_path, datasets.DatasetDict(parts)))
    assert "left out, classes of `label` without a row to train on: `bird`" in data.notes


def test_a_test_without_labels_is_no_matter_until_it_judges(tmp_path: Path) -> None:
    unlabelled = made(2, label=([-1, -1], datasets.ClassLabel(names=NAMES)))
    path = saved(tmp_path, datasets.DatasetDict(train=made(4), test=unlabelled))
    assert len(opened(path).train) == 4
    with pytest.raises(ConvsmithError, match=r"row 0 of the split `test` of .* has no `label`"):
        find_opener("classification", path).labelled(path, Data(), NAMES, "test")


def test_a_test_without_several_labels_is_no_matter_until_it_judges(tmp_path: Path) -> None:
    feature = datasets.List(datasets.ClassLabel(names=NAMES))
    parts = {"train": made(3, labels=([[0], [1], [0, 1]], feature)), "test": made(2, labels=([None] * 2, feature))}
    path = saved(tmp_path, datasets.DatasetDict(parts))
    assert len(opened(path, "multilabel").train) == 3
    with pytest.raises(ConvsmithError, match=r"row 0 of the split `test` of .* has no `labels`"):
        find_opener("multilabel", path).labelled(path, Data(), NAMES, "test")


@pytest.mark.parametrize(
    "labels",
    [
        ([[0, 1], [1], [], [0]], datasets.List(datasets.ClassLabel(names=NAMES))),
        ([["cat", "dog"], ["dog"], [], ["cat"]], datasets.List(datasets.Value("string"))),
    ],
    ids=["classes", "text"],
)
def test_lists_are_several_labels(tmp_path: Path, labels: Any) -> None:
    path = saved(tmp_path, made(4, labels=labels))
    assert task_of(path) == "multilabel"
    train = opened(path, "multilabel").train
    assert [train.target(i).tolist() for i in range(4)] == [[1, 1], [0, 1], [0, 0], [1, 0]]


@pytest.mark.parametrize(("image", "of_mask"), [("image", "mask"), ("image", "annotation"), ("pixel_values", "label")])
def test_a_second_image_is_the_mask(tmp_path: Path, image: str, of_mask: str) -> None:
    columns = {image: (images(4), datasets.Image()), of_mask: (images(4, mask), datasets.Image())}
    features = datasets.Features({name: feature for name, (_, feature) in columns.items()})
    values = {name: values for name, (values, _) in columns.items()}
    path = saved(tmp_path, datasets.Dataset.from_dict(values, features=features))
    assert task_of(path) == "segmentation"
    train = opened(path, "segmentation", masks={"classes": ("sky", "road")}).train
    assert [np.unique(train.read(i)[1]).tolist() for i in range(4)] == [[0], [1], [0], [1]]
    assert train.contents(2)[1].name == f"`{of_mask}` in row 2 of {path}"


def test_groups_and_weights_are_those_of_tables(tmp_path: Path) -> None:
    groups, weights = [f"p{i // 2}" for i in range(8)], [float(i) for i in range(8)]
    label = ([i % 2 for i in range(8)], datasets.ClassLabel(names=NAMES))
    columns = {
        "label": label,
        "patient": (groups, datasets.Value("string")),
        "weight": (weights, datasets.Value("float32")),
    }
    data = opened(saved(tmp_path, made(8, **columns)), hold=True)
    of_parts = [
        {int(part.name(i).split("row ")[1].split()[0]) // 2 for i in range(len(part))}
        for part in (data.train, data.val)
    ]
    assert not of_parts[0] & of_parts[1]
    assert sorted([*data.train.weights, *data.val.weights]) == weights


def test_columns_may_be_named_by_keys(tmp_path: Path) -> None:
    kinds = {
        "left": (images(4), datasets.Image()),
        "right": (images(4, mask), datasets.Image()),
        "what": (["emu", "eel"] * 2, datasets.Value("string")),
    }
    features = datasets.Features({name: feature for name, (_, feature) in kinds.items()})
    path = saved(tmp_path, datasets.Dataset.from_dict({name: it for name, (it, _) in kinds.items()}, features=features))
    with pytest.raises(ConvsmithError, match="columns of images are `left`, `right`"):
        opened(path, columns={"label": "what"})
    data = opened(path, columns={"label": "what", "image": "right"})
    assert data.train.contents(1)[0].read() == mask(1)


def test_images_may_be_files_that_cells_name(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    cells = [{"bytes": None, "path": str(tmp_path / f"{i}.png")} for i in range(4)]
    dataset = made(4, image=(cells, datasets.Image()), label=LABELS)
    path = tmp_path / "named"
    dataset.save_to_disk(path)
    train = opened(path).train
    assert train.contents(3)[0].read() == png(3)
    assert train.stats[:, 0, 0].tolist() == [len(png(i)) for i in range(4)]


def test_an_empty_cell_is_told_with_its_row(tmp_path: Path) -> None:
    cells = [*images(3), None]
    path = saved(tmp_path, made(4, image=(cells, datasets.Image()), label=LABELS))
    with pytest.raises(ConvsmithError, match=r"1 of 4 files .* `image` in row 3 of"):
        opened(path)


def test_an_image_that_cannot_be_read_is_named_with_its_row(tmp_path: Path) -> None:
    cells = [*images(3), {"bytes": b"text", "path": None}]
    path = saved(tmp_path, made(4, image=(cells, datasets.Image()), label=LABELS))
    with pytest.raises(ImageError, match="cannot read `image` in row 3 of"):
        opened(path).train.read(3)


def test_a_label_that_lacks_is_told_with_its_row(tmp_path: Path) -> None:
    labels = ([0, 1, None, 1], datasets.ClassLabel(names=NAMES))
    with pytest.raises(ConvsmithError, match=r"row 2 of .* has no `label`"):
        opened(saved(tmp_path, made(4, label=labels)))


def test_samples_may_be_selected_and_pickled(tmp_path: Path) -> None:
    part = opened(saved(tmp_path, made())).train.select([4, 1])
    again = pickle.loads(pickle.dumps(part))
    assert [again.contents(i)[0].read() for i in range(2)] == [png(4), png(1)]


def test_a_data_set_whose_rows_were_moved_is_read_in_its_own_order(tmp_path: Path) -> None:
    path = saved(tmp_path, made(8).select([6, 2, 3, 5]))
    data = opened(path)
    assert [data.train.contents(i)[0].read() for i in range(4)] == [png(i) for i in (6, 2, 3, 5)]
    assert data.train.stats[:, 0, 0].tolist() == [len(png(i)) for i in (6, 2, 3, 5)]


def test_the_digest_changes_with_the_bytes_of_an_image(tmp_path: Path) -> None:
    changed = images(6)
    changed[2]["bytes"] = png(9)
    label = ([i % 2 for i in range(6)], datasets.ClassLabel(names=NAMES))
    paths = []
    for name, cells in (("one", images(6)), ("two", changed)):
        (tmp_path / name).mkdir()
        paths.append(saved(tmp_path / name, made(6, image=(cells, datasets.Image()), label=label)))
    assert len({data_digest(opened(path)) for path in paths}) == 2


@pytest.mark.parametrize("given", ["hf:no/such-data-set", "hf:none:config"])
def test_what_cannot_be_opened_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConvsmithError, match=f"cannot open {given}"):
        opened(Path(given))


def test_a_saved_folder_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, made())
    next(path.glob("*.arrow")).write_bytes(b"text")
    with pytest.raises(ConvsmithError, match=f"cannot open {path}"):
        opened(path)


def test_data_without_images_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, datasets.Dataset.from_dict({"label": [0, 1], "text": ["a", "b"]}))
    with pytest.raises(ConvsmithError, match="has no column `image` of images: no column holds images"):
        opened(path)


def test_a_root_says_nothing_of_images_in_cells(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"data\.root says nothing of"):
        opened(saved(tmp_path, made()), root="x")


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, made())
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConvsmithError, match="a data set of Hugging Face needs the package `datasets`"):
        opened(path)


def test_parquet_of_paths_is_a_table(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    datasets.Dataset.from_dict({"image": ["0.png", "1.png"], "label": NAMES}).to_parquet(tmp_path / "t.parquet")
    assert opened(tmp_path / "t.parquet").train.name(1) == f"{tmp_path}/1.png (row 1 of t.parquet)"


def test_images_in_cells_count_before_the_names_of_their_files(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(4)]
    path = one_file(tmp_path, made(4, file_name=(names, datasets.Value("string")), label=LABELS))
    assert opened(path).train.contents(2)[0].read() == png(2)
