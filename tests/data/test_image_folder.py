from __future__ import annotations

import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from convsmith.data.folders import image_folder
from convsmith.data.folders.files import Files
from convsmith.data.folders.image_folder import open_image_folder, open_labelled_folder
from convsmith.data.index import Index
from convsmith.data.open_data import open_data
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from tests.data.folders import path_of, write_files

TRAIN = ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "train/dog/2.png")
TWO_CLASSES = ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "val/cat/3.png", "val/dog/2.png")


def files(index: Index) -> list[tuple[str, int]]:
    assert isinstance(index.images, Files)
    root = index.images.root
    return [(str(path_of(index, i).relative_to(root)), index.target(i)) for i in range(len(index))]


def refusal(root: Path) -> str:
    with pytest.raises(ConvsmithError) as caught:
        open_image_folder(root, Share(0.5))
    return str(caught.value)


# Layouts


def test_train_and_val_are_read_as_they_are(tmp_path: Path) -> None:
    folder = open_image_folder(write_files(tmp_path, *TWO_CLASSES), Share(0.5))
    assert folder.classes == ("cat", "dog")
    assert files(folder.train) == [("train/cat/1.png", 0), ("train/cat/2.png", 0), ("train/dog/1.png", 1)]
    assert files(folder.val) == [("val/cat/3.png", 0), ("val/dog/2.png", 1)]
    assert folder.notes == ()


@pytest.mark.parametrize("prefix", ["train/", ""])
def test_without_val_each_class_is_split_and_a_note_says_so(tmp_path: Path, prefix: str) -> None:
    names = [f"{prefix}{label}/{i}.png" for label in ("cat", "dog") for i in range(10)]
    folder = open_image_folder(write_files(tmp_path, *names), Share(0.3))
    assert sorted(files(folder.train) + files(folder.val)) == [(name, int("dog" in name)) for name in names]
    assert folder.val.targets.tolist() == [0] * 3 + [1] * 3
    assert folder.notes == ("no val folder: held out 6 of 20 images for validation, the same ones each time",)


def test_a_relative_root_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, *TWO_CLASSES)
    monkeypatch.chdir(tmp_path.parent)
    assert path_of(open_image_folder(Path(tmp_path.name), Share(0.5)).train, 0) == tmp_path / "train/cat/1.png"


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_val_has_other_names(tmp_path: Path, name: str) -> None:
    folder = open_image_folder(write_files(tmp_path, *TRAIN, f"{name}/cat/1.png", "test/dog/1.png"), Share(0.5))
    assert [path_of(folder.val, i) for i in range(len(folder.val))] == [tmp_path / name / "cat/1.png"]
    assert folder.notes[0] == f"left out, beside train and {name} in {tmp_path}: `test`"


def test_two_folders_of_validation_images_are_refused(tmp_path: Path) -> None:
    write_files(tmp_path, *TRAIN, "val/cat/1.png", "valid/cat/1.png")
    assert f"{tmp_path} has both `val`, `valid`" in refusal(tmp_path)


def test_test_images_beside_train_are_not_trained_on_nor_validated_by(tmp_path: Path) -> None:
    folder = open_image_folder(write_files(tmp_path, *TRAIN, "test/cat/1.png", "test/dog/1.png"), Share(0.5))
    files = [path_of(part, i).relative_to(tmp_path) for part in (folder.train, folder.val) for i in range(len(part))]
    assert sorted(map(str, files)) == sorted(TRAIN)
    assert f"left out, beside train and val in {tmp_path}: `test`" in folder.notes


def test_val_without_train_is_refused(tmp_path: Path) -> None:
    assert "has val but no train" in refusal(write_files(tmp_path, "val/cat/1.png", "val/dog/1.png"))


@pytest.mark.parametrize("name", ["Train", "training", "TEST", "Validation"])
def test_a_class_folder_named_like_a_split_is_refused(tmp_path: Path, name: str) -> None:
    assert f"`{name}` in {tmp_path} looks like" in refusal(write_files(tmp_path, f"{name}/cat/1.png", "dog/1.png"))


def test_folders_beside_train_and_val_are_noted(tmp_path: Path) -> None:
    folder = open_image_folder(write_files(tmp_path, *TWO_CLASSES, "test/cat/1.png", "masks/1.png"), Share(0.5))
    assert folder.notes == (f"left out, beside train and val in {tmp_path}: `masks`, `test`",)


def test_images_in_no_class_folder_are_noted(tmp_path: Path) -> None:
    folder = open_image_folder(write_files(tmp_path, *TWO_CLASSES, "a.jpg", "train/b.jpg", "train/c.JPG"), Share(0.5))
    assert folder.notes == (
        f"left out, in no class folder: 1 image directly in {tmp_path}",
        f"left out, in no class folder: 2 images directly in {tmp_path / 'train'}",
    )


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").startswith(f"cannot read the folder {tmp_path / 'none'}: No such file")


def test_a_file_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, "data.zip")
    assert "data.zip is a file" in refusal(tmp_path / "data.zip")


def test_a_folder_with_a_table_is_told_to_give_the_table(tmp_path: Path) -> None:
    write_files(tmp_path, "images/1.png", "images/2.png")
    (tmp_path / "train.csv").write_text("id,label\n1,cat\n2,dog\n")
    assert refusal(tmp_path).endswith(f"Does the table `{tmp_path}/train.csv` name the images? Then give that.")


def test_images_without_class_folders_are_told_of_labels_in_names(tmp_path: Path) -> None:
    message = refusal(write_files(tmp_path, "cat1.png", "dog1.png"))
    pattern = re.search("data.pattern='(.*)'", message)
    assert pattern is not None
    write_files(tmp_path, "cat2.png", "dog2.png")
    assert open_data("classification", Data(pattern=pattern[1]), tmp_path).classes == ("cat", "dog")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "no class folders" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("names", "found", "fix"),
    [
        (["dog/1.CR2", "dog/2.CR2"], "`dog` holds 2 .cr2", "Convert the pictures to JPEG or PNG."),
        (["annotations/1.xml"], "`annotations` holds 1 .xml", "leave this folder out of the data"),
        (["dog/1.mp4"], "`dog` holds 1 .mp4", "take pictures from it"),
        (["dog/1.npy", "dog/notes.txt"], "`dog` holds 1 .npy, 1 .txt", "images where data.channels is not 3"),
        (["dog/"], "each class folder needs at least one\n", "Add images to the folder"),
    ],
)
def test_a_class_without_images_is_named_with_what_it_holds(
    tmp_path: Path, names: list[str], found: str, fix: str
) -> None:
    message = refusal(write_files(tmp_path, "cat/1.png", "cat/2.png", *names))
    assert found in message
    assert fix in message


@pytest.mark.parametrize(
    ("name", "fix"), [("train.tfrecord", "write each as a JPEG"), ("all.zip", "Unpack"), ("labels.csv", "table")]
)
def test_files_in_place_of_class_folders_are_named(tmp_path: Path, name: str, fix: str) -> None:
    message = refusal(write_files(tmp_path, name))
    assert f"it holds no images either, but 1 {Path(name).suffix}" in message
    assert fix in message


@pytest.mark.parametrize("name", ["lost+found", "$RECYCLE.BIN", "System Volume Information", "@eaDir", "#recycle"])
@pytest.mark.parametrize("inside", ["", "train/", "train/cat/"])
def test_folders_of_a_system_are_left_out_with_a_note(tmp_path: Path, name: str, inside: str) -> None:
    write_files(tmp_path, *TWO_CLASSES, f"{inside}{name}/1.png", f"{inside}{name}/deep/2.png")
    folder = open_image_folder(tmp_path, None)
    assert folder.classes == ("cat", "dog")
    assert len(folder.train) == 3
    if inside:
        assert folder.notes == (f"left out, not images: 1 `{name}`",)


def test_the_files_of_a_system_are_counted(tmp_path: Path) -> None:
    folder = open_image_folder(write_files(tmp_path, *TWO_CLASSES, "train/cat/Thumbs.db", "train/desktop.ini"), None)
    assert sorted(folder.notes[0].split(": ")[1].split(", ")) == ["1 .db", "1 .ini"]


def test_images_without_class_folders_are_refused(tmp_path: Path) -> None:
    assert "it holds 2 images directly" in refusal(write_files(tmp_path, "1.png", "2.png"))


def test_a_class_named_train_is_told_where_to_go(tmp_path: Path) -> None:
    write_files(tmp_path, "train/1.png", "car/1.png")
    assert "if `train` is itself a class, put all class folders into train/" in refusal(tmp_path)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    assert "only one class folder" in refusal(write_files(tmp_path, "train/cat/1.png", "train/cat/2.png"))


def test_the_folder_above_the_data_is_told_where_to_go(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"pets/{name}" for name in TWO_CLASSES])
    assert f"Pass {tmp_path / 'pets'} instead." in refusal(tmp_path)


@pytest.fixture
def forbidden_folder() -> Iterator[Path]:
    """A folder inside a class that this process may not read, even when it is root's."""
    with tempfile.TemporaryDirectory() as name:
        root = write_files(Path(name), *TWO_CLASSES)
        root.chmod(0o755)
        forbidden = root / "train" / "cat" / "private"
        forbidden.mkdir(mode=0o000)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield forbidden
        finally:
            os.seteuid(user)


def test_a_folder_that_may_not_be_read_is_refused(forbidden_folder: Path) -> None:
    root = forbidden_folder.parents[2]
    assert refusal(root).startswith(f"cannot read the folder {forbidden_folder}: Permission denied")


# Classes


def test_classes_are_sorted_by_code_point(tmp_path: Path) -> None:
    names = ["b", "a", "B", "10", "9", "é", "猫", "кот", "🐈"]
    folder = open_image_folder(write_files(tmp_path, *[f"{name}/{i}.png" for name in names for i in "12"]), Share(0.5))
    assert folder.classes == ("10", "9", "B", "a", "b", "é", "кот", "猫", "🐈")


def test_decomposed_names_become_composed_labels(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    write_files(tmp_path, f"train/{decomposed}/1.png", "train/tea/1.png", "val/café/2.png")
    folder = open_image_folder(tmp_path, Share(0.5))
    assert folder.classes == ("café", "tea")
    assert files(folder.train)[0] == (f"train/{decomposed}/1.png", 0)
    assert files(folder.val) == [("val/café/2.png", 0)]


def test_two_spellings_of_one_label_are_refused(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"{unicodedata.normalize(form, 'café')}/1.png" for form in ("NFC", "NFD")])
    assert "two folders in" in refusal(tmp_path)


def test_a_class_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, "cat/1.png", os.fsdecode(b"d\xffg/1.png"))
    assert "d\\udcffg is not UTF-8" in refusal(tmp_path)


def test_an_empty_class_folder_in_train_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, *TWO_CLASSES, "train/emu/", "train/fox/notes.txt")
    assert "no training images for `emu`, `fox`" in refusal(tmp_path)


def test_an_empty_class_folder_to_split_is_refused(tmp_path: Path) -> None:
    assert "no training images for `emu`" in refusal(write_files(tmp_path, "cat/1.png", "cat/2.png", "emu/"))


@pytest.mark.parametrize("extra", [("val/emu/",), ()])
def test_a_class_without_validation_images_is_noted(tmp_path: Path, extra: tuple[str, ...]) -> None:
    folder = open_image_folder(write_files(tmp_path, *TWO_CLASSES, "train/emu/1.png", *extra), Share(0.5))
    assert folder.notes == ("no validation images for `emu`",)


def test_a_single_image_stays_in_train_and_is_noted(tmp_path: Path) -> None:
    folder = open_image_folder(write_files(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png"), Share(0.5))
    assert files(folder.train)[-1] == ("dog/1.png", 1)
    assert folder.notes[-1] == "no validation images for `dog`"


def test_a_class_that_train_lacks_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    write_files(tmp_path, *TWO_CLASSES, "val/cats/1.png")
    assert "has the class `cats`" in (message := refusal(tmp_path))
    assert "did you mean `cat`?" in message


def test_a_val_without_any_image_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, "train/cat/1.png", "train/dog/1.png", "val/cat/", "val/dog/")
    assert f"no images in the class folders of {tmp_path / 'val'}" in refusal(tmp_path)


def test_single_images_everywhere_leave_nothing_to_validate(tmp_path: Path) -> None:
    assert "every class has one image only" in refusal(write_files(tmp_path, "cat/1.png", "dog/1.png"))


def test_long_lists_of_names_are_cut(tmp_path: Path) -> None:
    write_files(tmp_path, *TWO_CLASSES, *[f"train/empty{i:02}/" for i in range(12)])
    assert "`empty09` and 2 more" in refusal(tmp_path)


# To evaluate


def test_labelled_folder_takes_the_classes_in_the_order_of_the_model(tmp_path: Path) -> None:
    index, _ = open_labelled_folder(write_files(tmp_path, *TWO_CLASSES), ["emu", "dog", "cat"])
    assert files(index) == [("val/dog/2.png", 1), ("val/cat/3.png", 2)]


def test_labelled_folder_without_val_is_taken_whole(tmp_path: Path) -> None:
    index, _ = open_labelled_folder(write_files(tmp_path, "cat/1.png", "dog/1.png"), ["cat", "dog"])
    assert files(index) == [("cat/1.png", 0), ("dog/1.png", 1)]


def test_labelled_folder_can_be_another_split(tmp_path: Path) -> None:
    assert len(open_labelled_folder(write_files(tmp_path, *TWO_CLASSES), ["cat", "dog"], "train")[0]) == 3


def test_labelled_folder_equals_the_validation_part_of_training(tmp_path: Path) -> None:
    folder = open_image_folder(write_files(tmp_path, *TWO_CLASSES, "val/cat/deep/0.png"), Share(0.5))
    assert open_labelled_folder(tmp_path, folder.classes)[0].digest() == folder.val.digest()


@pytest.mark.parametrize("names", [("cat/1.png", "cow/1.png"), ("train/cat/1.png",)])
def test_labelled_folder_refuses_a_class_that_the_model_lacks(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ConvsmithError, match="is not a class of the model"):
        open_labelled_folder(write_files(tmp_path, *names), ["cat", "dog"])


def test_labelled_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="no images in the class folders"):
        open_labelled_folder(write_files(tmp_path, "val/cat/", "val/dog/x.txt"), ["cat", "dog"])


def test_reading_many_folders_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(image_folder, "_EVERY", -1.0)
    caplog.set_level("INFO")
    open_image_folder(write_files(tmp_path, "a/1.png", "b/1.png", "b/2.png"), None)
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 2 class folders read, 1 images",
        "2 of 2 class folders read, 3 images",
    ]
