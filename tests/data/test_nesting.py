"""Layouts that would be read as something else than is meant are errors; what may be meant is a note."""

from __future__ import annotations

from pathlib import Path

import pytest

from convsmith.data.folders.image_folder import open_image_folder, open_labelled_folder
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError
from tests.data.folders import write_files


def notes(root: Path, *names: str) -> tuple[str, ...]:
    return open_image_folder(write_files(root, *names), None).notes


def refusal(root: Path, *names: str) -> str:
    with pytest.raises(ConvsmithError) as caught:
        open_image_folder(write_files(root, *names), Share(0.5))
    return str(caught.value)


@pytest.mark.parametrize("parts", [("train", "val"), ("train", "test"), ("Train", "Valid", "Test"), ("test",)])
@pytest.mark.parametrize("above", ["", "train/"])
def test_parts_inside_the_classes_are_refused(tmp_path: Path, parts: tuple[str, ...], above: str) -> None:
    message = refusal(tmp_path, *[f"{above}{label}/{part}/1.png" for label in ("cat", "dog") for part in parts])
    assert "would be mixed and split anew" in message
    assert "train/cat, val/cat" in message


def test_a_model_is_not_judged_by_parts_inside_the_classes_either(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"{label}/{part}/1.png" for label in ("cat", "dog") for part in ("train", "test")])
    with pytest.raises(ConvsmithError, match="would be mixed"):
        open_labelled_folder(tmp_path, ["cat", "dog"])


def test_one_class_with_parts_in_it_is_enough(tmp_path: Path) -> None:
    assert "`dog`" in refusal(tmp_path, "cat/1.png", "cat/2.png", "dog/train/1.png", "dog/test/2.png")


def test_a_train_among_other_vehicles_is_no_part(tmp_path: Path) -> None:
    assert not notes(tmp_path, "vehicle/train/1.png", "vehicle/car/1.png", "vehicle/2.png", "animal/1.png")


@pytest.mark.parametrize(
    "parts", [("training_set", "test_set"), ("seg_train", "seg_test"), ("Train1", "other"), ("fold_1", "fold_2")]
)
@pytest.mark.parametrize("twice", [False, True])
def test_parts_of_any_name_are_no_classes(tmp_path: Path, parts: tuple[str, ...], twice: bool) -> None:
    message = refusal(
        tmp_path, *[f"{p}/{f'{p}/' * twice}{label}/{i}.png" for p in parts for label in ("cat", "dog") for i in "12"]
    )
    assert "look like parts of a data set, not classes" in message
    assert "`cat`, `dog`" in message


@pytest.mark.parametrize("parts", [("train2017", "val2017"), ("train_images", "test_images"), ("Fold 1", "Fold 2")])
def test_parts_without_class_folders_are_no_classes_either(tmp_path: Path, parts: tuple[str, ...]) -> None:
    assert "look like parts of a data set" in refusal(tmp_path, *[f"{part}/{i}.png" for part in parts for i in "12"])


@pytest.mark.parametrize("label", ["bullet_train", "test_tube"])
def test_a_class_may_have_such_a_word_in_its_name(tmp_path: Path, label: str) -> None:
    assert not notes(tmp_path, f"{label}/1.png", "dog/1.png")


def test_classes_in_a_class_are_noted(tmp_path: Path) -> None:
    found = notes(tmp_path, "animals/cat/1.png", "animals/dog/1.png", "plants/rose/1.png", "plants/oak/1.png")
    assert found == (
        "`animals` is one class, of all images in its folders `cat`, `dog`",
        "`plants` is one class, of all images in its folders `oak`, `rose`",
    )


def test_folders_that_are_the_same_in_each_class_are_noted_once(tmp_path: Path) -> None:
    found = notes(tmp_path, *[f"{site}/{label}/1.png" for site in ("north", "south") for label in ("cat", "dog")])
    assert len(found) == 1
    assert "each of the classes `north`, `south` holds `cat`, `dog`: if those are the classes" in found[0]


def test_many_such_classes_do_not_fill_the_screen(tmp_path: Path) -> None:
    found = notes(tmp_path, *[f"c{i}/{part}{i}/1.png" for i in range(9) for part in "ab"])
    assert len(found) == 4
    assert found[-1] == "and so are 6 other classes, of the images in theirs"


def test_one_folder_in_each_class_is_no_news(tmp_path: Path) -> None:
    assert not notes(tmp_path, "cat/images/1.png", "dog/images/1.png")


@pytest.mark.parametrize("above", ["animals", "download/animals", "a/b/c"])
def test_one_folder_around_the_classes_is_named(tmp_path: Path, above: str) -> None:
    message = refusal(tmp_path, f"{above}/cat/1.png", f"{above}/dog/1.png")
    assert f"Are the classes `cat`, `dog`? Then pass {tmp_path / above} instead." in message


def test_one_folder_around_the_classes_of_a_part_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, "train/train/cat/1.png", "train/train/dog/1.png")
    assert f"move them up into {tmp_path / 'train'}." in message
