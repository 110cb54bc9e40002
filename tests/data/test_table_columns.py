"""Where a table's images lie, and its columns beside images and labels: groups, weights, and names of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convsmith.data.dataset import DataSet, Samples
from convsmith.data.loading.sampler import StepSampler, epoch_samples
from convsmith.data.open_data import data_of_recipe, open_data
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from convsmith.recipe.load import load_recipe
from convsmith.recipe.sampling import Weighted
from tests.data.folders import write_files
from tests.data.masks import write_pairs

NAMES = ("0001", "0002", "0003", "a.b")
LABELS = ("cat", "dog", "cat", "dog")


def write_table(root: Path, header: str, rows: Sequence[Sequence[object]], name: str = "train.csv") -> Path:
    (root / name).write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return root / name


def ids(root: Path, header: str = "id,label", name: str = "train.csv") -> Path:
    return write_table(root, header, list(zip(NAMES, LABELS, strict=True)), name)


def opened(path: Path, task: str = "classification", hold: bool = False, **section: Any) -> Any:
    return open_data(task, Data.model_validate({"val_fraction": 0.5, **section}), path, hold_out=hold)


def found(samples: Samples, root: Path) -> list[str]:
    return [samples.name(i).partition(" (")[0].removeprefix(f"{root}/") for i in range(len(samples))]


@pytest.mark.parametrize("header", ["id,label", "image_id,label", "image,label", "Image_Name,label"])
@pytest.mark.parametrize("folder", ["images", "train", "train_images", "jpeg/", "."])
def test_ids_without_an_ending_are_found_beside_the_table(tmp_path: Path, folder: str, header: str) -> None:
    write_files(tmp_path, *[f"{folder}/{name}.jpg" for name in NAMES])
    path = f"{folder.rstrip('/')}/".removeprefix("./")
    assert found(opened(ids(tmp_path, header)).train, tmp_path) == [f"{path}{name}.jpg" for name in NAMES]


def test_each_id_has_the_ending_of_its_own_file(tmp_path: Path) -> None:
    files = [f"images/{name}{ending}" for name, ending in zip(NAMES, (".jpg", ".PNG", ".png", ".jpg"), strict=True)]
    write_files(tmp_path, *files)
    assert found(opened(ids(tmp_path)).train, tmp_path) == files


def test_names_with_an_ending_are_found_in_the_folder_beside_the_table(tmp_path: Path) -> None:
    write_files(tmp_path, "train_images/a.png", "train_images/sub/b.png", "test_images/c.png")
    path = write_table(tmp_path, "image_id,label", [("a.png", "cat"), ("sub/b.png", "dog")], "labels.csv")
    assert found(opened(path).train, tmp_path) == ["train_images/a.png", "train_images/sub/b.png"]


def test_paths_that_are_there_as_written_are_not_sought(tmp_path: Path) -> None:
    write_files(tmp_path, "a.png", "b.png", "images/a.png", "images/b.png")
    path = write_table(tmp_path, "image,label", [("a.png", "cat"), ("b.png", "dog")])
    assert found(opened(path).train, tmp_path) == ["a.png", "b.png"]


def test_of_several_folders_the_one_counts_that_is_called_like_the_table(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"{folder}/{name}.jpg" for folder in ("test", "train", "thumbs") for name in NAMES])
    assert found(opened(ids(tmp_path)).train, tmp_path)[0] == "train/0001.jpg"


def test_ids_in_several_folders_are_refused_with_the_names_of_both(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"{folder}/{name}.jpg" for folder in ("large", "small") for name in NAMES])
    with pytest.raises(ConvsmithError, match=f"`{tmp_path}/large`, `{tmp_path}/small`"):
        opened(ids(tmp_path))
    assert found(opened(ids(tmp_path), root="small").train, tmp_path)[0] == "small/0001.jpg"


def test_ids_of_two_files_are_refused_with_the_names_of_both(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"images/{name}.jpg" for name in NAMES], "images/0002.png")
    with pytest.raises(ConvsmithError, match=r"line 3 of .* may name `images/0002\.jpg`, `images/0002\.png`"):
        opened(ids(tmp_path))


def test_an_id_without_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"images/{name}.jpg" for name in NAMES[1:]])
    with pytest.raises(ConvsmithError, match=r"1 of 4 files .* are missing, such as .*/images/0001 \(line 2 of"):
        opened(ids(tmp_path))


def test_a_root_says_where_paths_start(tmp_path: Path) -> None:
    write_files(tmp_path, "elsewhere/a.png", "elsewhere/b.png")
    (tmp_path / "tables").mkdir()
    path = write_table(tmp_path / "tables", "image,label", [("a.png", "cat"), ("b.png", "dog")])
    for root in ("../elsewhere", str(tmp_path / "elsewhere")):
        assert Path(found(opened(path, root=root).train, tmp_path)[0]).name == "a.png"
    with pytest.raises(ConvsmithError, match=r"data\.root is none, but there is no folder"):
        opened(path, root="none")


def test_images_and_masks_of_one_name_are_found_in_folders_called_like_them(tmp_path: Path) -> None:
    write_pairs(tmp_path, *[(f"images/{name}.jpg", f"masks/{name}.png") for name in NAMES])
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    train = opened(write_table(tmp_path, "id,mask", [(name, name) for name in NAMES]), "segmentation").train
    assert [train.contents(0)[k].name.partition(" ")[0].removeprefix(f"{tmp_path}/") for k in (0, 1)] == [
        "images/0001.jpg",
        "masks/0001.png",
    ]


def test_columns_may_be_named_by_keys(tmp_path: Path) -> None:
    write_files(tmp_path, "a.png", "b.png", "c.png")
    rows = [
        ("a.png", "x", "cat", "dog", "train"),
        ("b.png", "y", "cow", "eel", "dev"),
        ("c.png", "z", "cow", "", "train"),
    ]
    path = write_table(tmp_path, "Photo,label,species,tags,split", rows)
    columns = {"image": "photo", "label": "Species", "split": "label"}
    with pytest.raises(ConvsmithError, match="has the split `x`"):
        opened(path, columns=columns)
    columns["split"] = "fold"
    with pytest.raises(ConvsmithError, match="has no column `fold`: it has `Photo`, `label`"):
        opened(path, columns=columns)
    write_table(tmp_path, "Photo,label,species,tags,subset", [(*row[:4], "train") for row in rows])
    del columns["split"]
    assert opened(path, columns=columns).classes == ("cat", "cow")


def test_a_column_of_labels_may_be_named_by_a_key(tmp_path: Path) -> None:
    write_files(tmp_path, "a.png", "b.png")
    path = write_table(tmp_path, "image,label,what", [("a.png", "x", "cat|dog"), ("b.png", "y", "dog")])
    assert opened(path, "multilabel", columns={"labels": "what"}).classes == ("cat", "dog")


@pytest.mark.parametrize("key", [{"columns": {"label": "x"}}, {"root": "x"}])
def test_keys_of_tables_are_refused_for_other_data(tmp_path: Path, key: dict[str, Any]) -> None:
    write_files(tmp_path, *[f"{label}/{i}.png" for label in "ab" for i in range(2)])
    with pytest.raises(ConvsmithError, match=f"data.{next(iter(key))} says nothing of {tmp_path}"):
        opened(tmp_path, **key)


def patients(root: Path, header: str = "image,label,patient") -> Path:
    rows = [(f"{i}.png", LABELS[i // 10], f"p{i // 3}") for i in range(40)]
    write_files(root, *[str(row[0]) for row in rows])
    return write_table(root, header, rows)


def groups_of(samples: Samples) -> set[int]:
    return {int(Path(samples.name(i).partition(" ")[0]).stem) // 3 for i in range(len(samples))}


@pytest.mark.parametrize("section", [{"val_fraction": 0.25}, {"folds": 4, "fold": 1}, {"folds": 4, "fold": 3}])
def test_no_group_is_in_both_parts(tmp_path: Path, section: dict[str, Any]) -> None:
    data = opened(patients(tmp_path), hold=True, **section)
    assert not groups_of(data.train) & groups_of(data.val)
    assert len(data.val) == pytest.approx(10, abs=4)
    assert np.ptp(np.bincount(data.val.targets)) <= 4
    assert any("whole groups" in note for note in data.notes)


def test_a_group_column_may_be_named_by_a_key(tmp_path: Path) -> None:
    path = patients(tmp_path, "image,label,scanner")
    assert groups_of((data := opened(path, hold=True)).train) & groups_of(data.val)
    data = opened(path, hold=True, columns={"group": "scanner"})
    assert not groups_of(data.train) & groups_of(data.val)


def test_groups_that_a_column_of_splits_tears_apart_are_told(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"{i}.png" for i in range(4)])
    splits = ("train", "train", "val", "val")
    rows = [(f"{i}.png", LABELS[i], f"p{i // 2 if i < 3 else 0}", splits[i]) for i in range(4)]
    assert "in train and val: the groups `p0`" in opened(write_table(tmp_path, "image,label,group,split", rows)).notes


def test_a_row_without_its_group_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, "a.png", "b.png")
    path = write_table(tmp_path, "image,label,group", [("a.png", "cat", "p"), ("b.png", "dog", "")])
    with pytest.raises(ConvsmithError, match=r"line 3 of .* has no `group`"):
        opened(path)


def weighted(root: Path, weights: Sequence[object], *words: str) -> DataSet:
    write_files(root, *[f"{i}.png" for i in range(4)])
    rows = [(f"{i}.png", LABELS[i], weight) for i, weight in enumerate(weights)]
    path = write_table(root, "image,label,weight", rows)
    words = ("model.num_classes=2", "data.val_fraction=0.1", "eval=false", "sampling.name=weighted", *words)
    return data_of_recipe(load_recipe("digits", words), path)


def test_the_weights_of_a_table_are_those_of_its_samples(tmp_path: Path) -> None:
    train = weighted(tmp_path, [1, "2.5", 0, "1e3"]).train
    assert train.select([3, 1]).weights.tolist() == [1000, 2.5]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, "much", 1, 1], r"1\.png \(line 3 of train\.csv\) has no weight"),
        ([1, 1, "", 1], r"2\.png \(line 4 of train\.csv\) has no weight"),
        ([1, 1, 1, -1], r"3\.png \(line 5 of train\.csv\) has no weight"),
        ([1, 1, "inf", 1], r"2\.png \(line 4 of train\.csv\) has no weight"),
        ([0, 0, 0, 0], "the weights of all training images are 0"),
    ],
)
def test_weights_that_cannot_be_drawn_by_are_refused(tmp_path: Path, weights: list[object], message: str) -> None:
    with pytest.raises(ConvsmithError, match=message):
        weighted(tmp_path, weights)


def test_weights_that_are_not_drawn_by_may_be_anything(tmp_path: Path) -> None:
    assert len(weighted(tmp_path, ["heavy", "", -1, 2], "sampling.name=plain").train) == 4


def test_images_without_weights_are_not_drawn_by_them(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"{label}/{i}.png" for label in "ab" for i in range(2)])
    recipe = load_recipe("digits", ["model.num_classes=2", "sampling.name=weighted"])
    with pytest.raises(ConvsmithError, match="the images have no weights"):
        data_of_recipe(recipe, tmp_path)


def test_images_are_drawn_in_proportion_to_their_weights() -> None:
    weights = np.array([0, 1, 2, 7], float).repeat(1000)
    drawn = epoch_samples(Weighted(name="weighted"), np.zeros(4000, np.int64), 0, 0, weights=weights)
    counts = np.bincount(drawn // 1000, minlength=4)
    assert (len(drawn), counts[0]) == (4000, 0)
    assert counts / 4000 == pytest.approx(np.array([0, 0.1, 0.2, 0.7]), abs=0.03)


def test_the_weights_of_the_share_that_is_used_are_drawn_by() -> None:
    sampler = StepSampler(
        np.arange(8) % 2,
        Weighted(name="weighted", fraction=0.5),
        seed=0,
        effective_batch=4,
        per_device_batch=4,
        steps_per_epoch=1,
        first_step=0,
        last_step=20,
        weights=np.arange(8, dtype=float),
    )
    drawn = [position.index for batch in sampler for position in batch]
    assert set(drawn) <= set(sampler.used.tolist()) - {0}
    counts = np.bincount(drawn, minlength=8)[sampler.used] / len(drawn)
    assert counts == pytest.approx(sampler.used / sampler.used.sum(), abs=0.12)
