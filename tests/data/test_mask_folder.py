"""Images and masks in folders of one's own: how pairs, parts, classes and colours are found."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.data.masks.mask_data import mask_rules
from convsmith.data.masks.mask_file import read_mask
from convsmith.data.masks.mask_folder import part_for
from convsmith.errors import ConvsmithError
from convsmith.recipe.mask_data import Masks
from tests.data.folders import png, write_files
from tests.data.masks import mask_png, names, opened, plain, write_folders, write_pairs


def refusal(root: Path, val_fraction: float | None = 0.5, **keys: Any) -> str:
    with pytest.raises(ConvsmithError) as caught:
        opened(root, val_fraction, **keys)
    return str(caught.value)


# Parts


def test_a_part_to_test_with_is_a_folder_or_a_list_of_that_name(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "val/1")
    assert part_for(tmp_path, Masks(), "test") is None
    (tmp_path / "test.lst").touch()
    assert part_for(tmp_path, Masks(), "test") == "test.lst"
    write_folders(tmp_path, "test/2")
    assert part_for(tmp_path, Masks(), "test") == "test"


# Pairs


def test_images_and_masks_are_paired_by_their_path_sorted_by_its_bytes(tmp_path: Path) -> None:
    folder = opened(write_folders(tmp_path, "train/b", "train/B", "train/deep/a", "train/é", "val/1"))
    stems = ["B", "b", "deep/a", "é"]
    assert names(folder.train) == [(f"images/train/{stem}.jpg", f"masks/train/{stem}.png") for stem in stems]
    assert names(folder.val) == [("images/val/1.jpg", "masks/val/1.png")]
    assert folder.extra is None
    assert folder.notes == ()


def test_a_name_may_hold_dots_and_any_extension_of_an_image(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a.b", "val/1")
    write_pairs(tmp_path, ("images/train/c.TIFF", "masks/train/c.png"))
    assert [image for image, _ in names(opened(tmp_path).train)] == ["images/train/a.b.jpg", "images/train/c.TIFF"]


def test_hidden_files_are_skipped_and_others_noted(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "val/1")
    write_files(tmp_path, "images/train/.b.jpg", "masks/train/.c.png", "images/train/notes.txt", "masks/train/a.json")
    folder = opened(tmp_path)
    assert len(folder.train) == 1
    assert folder.notes == ("left out, not images: 1 .txt",)


def test_links_are_followed(tmp_path: Path) -> None:
    write_folders(tmp_path / "store", "a", "1")
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        (tmp_path / "data" / kind / "train").symlink_to(tmp_path / "store" / kind)
    (tmp_path / "data" / "classes.txt").symlink_to(tmp_path / "store" / "classes.txt")
    assert len(opened(tmp_path / "data").train) == 1


def test_images_without_masks_are_refused_by_name_and_number(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "train/b", "train/c", "val/1")
    (tmp_path / "masks/train/a.png").unlink()
    (tmp_path / "masks/train/c.png").rename(tmp_path / "masks/train/c.jpg")
    message = refusal(tmp_path)
    assert message.startswith(
        f"2 of 3 images in {tmp_path}/images/train have no mask: `images/train/a.jpg`, `images/train/c.jpg`: "
        "the mask of the first would be masks/train/a.png"
    )


def test_masks_that_are_jpeg_files_are_told_to_be_saved_otherwise(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "val/1")
    (tmp_path / "masks/train/a.png").rename(tmp_path / "masks/train/a.jpg")
    assert f"{tmp_path}/masks/train/a.jpg is a JPEG file, which changes values" in refusal(tmp_path)


def test_masks_without_images_are_refused(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "train/b", "val/1")
    (tmp_path / "images/train/b.jpg").unlink()
    assert "1 of 2 masks in" in (message := refusal(tmp_path))
    assert "have no image: `masks/train/b.png`" in message


def test_two_images_for_one_mask_are_refused(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "val/1")
    (tmp_path / "images/train/a.png").write_bytes(png())
    assert "two images for one mask: `images/train/a.jpg`, `images/train/a.png`" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", ["PNG", "Png"])
def test_a_mask_is_found_whatever_the_case_of_its_extension(tmp_path: Path, suffix: str) -> None:
    write_folders(tmp_path, "val/1")
    write_pairs(tmp_path, ("images/train/a.JPG", f"masks/train/a.{suffix}"))
    assert names(opened(tmp_path).train) == [("images/train/a.JPG", f"masks/train/a.{suffix}")]


def test_two_masks_for_one_image_are_refused(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "val/1")
    (tmp_path / "masks/train/a.PNG").write_bytes(plain(0))
    assert "two masks for one image: `masks/train/a.PNG`, `masks/train/a.png`" in refusal(tmp_path)


def test_a_missing_folder_of_masks_is_refused(tmp_path: Path) -> None:
    assert f"no folder {tmp_path}/masks/train beside" in refusal(write_files(tmp_path, "images/train/a.jpg"))


@pytest.mark.parametrize("part", ["train", "val"])
def test_an_empty_part_is_refused(tmp_path: Path, part: str) -> None:
    write_folders(tmp_path, "train/a", "val/1")
    for path in tmp_path.rglob(f"{part}/*"):
        path.unlink()
    assert f"no images in {tmp_path}/images/{part}" in refusal(tmp_path)


# Parts


def test_without_val_a_share_of_train_is_held_out_and_noted(tmp_path: Path) -> None:
    folder = opened(write_folders(tmp_path, *[f"train/{i}" for i in range(10)]), 0.3)
    assert (len(folder.train), len(folder.val)) == (7, 3)
    assert folder.notes == ("no part for validation: held out 3 of 10 images, the same ones each time",)
    assert not set(names(folder.train)) & set(names(folder.val))


def test_val_null_holds_out_even_where_there_is_a_val(tmp_path: Path) -> None:
    folder = opened(write_folders(tmp_path, "train/a", "train/b", "val/1"), val=None)
    assert all(image.startswith("images/train/") for image, _ in names(folder.val))


def test_the_pairs_held_out_do_not_depend_on_where_the_data_lies(tmp_path: Path) -> None:
    here, there = (opened(write_folders(tmp_path / name, *[f"train/{i}" for i in range(9)])) for name in "ab")
    assert here.names_digest == there.names_digest


def test_without_validation_nothing_is_held_out(tmp_path: Path) -> None:
    folder = opened(write_folders(tmp_path, "train/a", "train/b"), None)
    assert (len(folder.train), len(folder.val), folder.notes) == (2, 0, ())


def test_a_single_image_cannot_be_held_out(tmp_path: Path) -> None:
    assert "no images left for validation" in refusal(write_folders(tmp_path, "train/a"))


def test_images_and_masks_without_parts_are_split(tmp_path: Path) -> None:
    folder = opened(write_folders(tmp_path, "a", "b", "indoor/c"))
    assert len(folder.train) + len(folder.val) == 3


def test_parts_may_have_other_names(tmp_path: Path) -> None:
    folder = opened(write_folders(tmp_path, "day/a", "night/b"), train="day", val="night")
    assert names(folder.val) == [("images/night/b.jpg", "masks/night/b.png")]


def test_extra_joins_parts(tmp_path: Path) -> None:
    folder = opened(write_folders(tmp_path, "train/a", "val/b"), extra="train + val")
    assert folder.extra is not None
    assert names(folder.extra) == [*names(folder.train), *names(folder.val)]


def test_the_digest_names_the_classes_too(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "val/b")
    assert opened(tmp_path).names_digest != opened(tmp_path, classes=("sky", "road", "bus")).names_digest


def test_the_digest_names_the_extra_part_too(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "val/b")
    assert opened(tmp_path).names_digest != opened(tmp_path, extra="train+val").names_digest


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_val_has_other_names(tmp_path: Path, name: str) -> None:
    folder = opened(write_folders(tmp_path, "train/a", f"{name}/b", "test/c"))
    assert [folder.val.name(i) for i in range(len(folder.val))] == [str(tmp_path / f"images/{name}/b.jpg")]


def test_two_parts_of_validation_images_are_refused(tmp_path: Path) -> None:
    assert "has both `val`, `valid`" in refusal(write_folders(tmp_path, "train/a", "val/b", "valid/c"))


def test_test_images_beside_train_are_not_trained_on_nor_validated_by(tmp_path: Path) -> None:
    folder = opened(write_folders(tmp_path, "train/a", "train/b", "test/c"))
    names = [part.name(i) for part in (folder.train, folder.val) for i in range(len(part))]
    assert sorted(names) == [str(tmp_path / f"images/train/{name}.jpg") for name in "ab"]


def test_a_val_asked_for_by_name_has_to_be_there(tmp_path: Path) -> None:
    message = refusal(write_folders(tmp_path, "train/a", "night/b"), val="nigth")
    assert f"no part `nigth` of the layout `folders` in {tmp_path}; did you mean `night`?" in message


def test_val_without_train_is_refused(tmp_path: Path) -> None:
    message = refusal(write_folders(tmp_path, "val/a", "val/b"))
    assert "no part `train`" in message
    assert "Expected: images/train/**/*.* with masks/train/**/*.png" in message


def test_a_folder_of_something_else_is_told_what_is_expected(tmp_path: Path) -> None:
    message = refusal(write_files(tmp_path, "train/a.jpg", "labels/a.png"))
    assert "the folder holds `labels`, `train`" in message


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").startswith(f"cannot read the folder {tmp_path / 'none'}: No such file")


def test_a_file_is_refused(tmp_path: Path) -> None:
    assert "data.zip is a file" in refusal(write_files(tmp_path, "data.zip") / "data.zip")


# Classes and colours


def test_classes_are_the_lines_of_a_file_in_the_data_folder(tmp_path: Path) -> None:
    folder = opened(write_folders(tmp_path, "train/a", "val/b", classes="﻿sky \r\nroad sign\r\ncafe\u0301\r\n\r\n"))
    assert folder.classes == ("sky", "road sign", "café")
    assert folder.colours is None


def test_the_recipe_goes_before_the_file(tmp_path: Path) -> None:
    assert opened(write_folders(tmp_path, "train/a", "val/b"), classes=("a", "b")).classes == ("a", "b")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "0 class names"),
        ("sky\n", "1 class names"),
        ("sky\n\nroad\n", "a class name is empty"),
        ("sky\nroad\nsky\n", "`sky` stands twice"),
        ("\n".join(map(str, range(256))), "256 class names, but a mask tells 2 to 255 classes apart"),
        (f"{unicodedata.normalize('NFC', 'é')}\n{unicodedata.normalize('NFD', 'é')}", "stands twice"),
    ],
)
def test_a_file_that_is_no_list_of_classes_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    message = refusal(write_folders(tmp_path, "train/a", "val/b", classes=text))
    assert message.startswith(f"cannot take the classes from {tmp_path}/classes.txt: ")
    assert problem in message


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "val/b")
    (tmp_path / "classes.txt").write_bytes(b"stra\xdfe\nwald\n")
    assert "classes.txt is not UTF-8" in refusal(tmp_path)


def without_classes(root: Path, *values: int) -> str:
    write_folders(root, *[f"train/{value}" for value in values], "val/b")
    for value in values:
        (root / f"masks/train/{value}.png").write_bytes(plain(value))
    (root / "classes.txt").unlink()
    return refusal(root)


def test_unknown_classes_are_asked_for_with_the_values_in_the_masks(tmp_path: Path) -> None:
    message = without_classes(tmp_path, 3, 0, 1)
    assert "no classes.txt there; the first 3 masks hold the values 0, 1, 3\n" in message
    names = "data.masks.classes='[class0, class1, class2]'"
    assert f"Name one class on each line of {tmp_path}/classes.txt, value 0 first, or set" in message
    assert f"such as {names}." in message


def test_a_table_of_colours_that_is_there_is_not_asked_for_again(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "val/b")
    for name in ("train/a", "val/b"):
        (tmp_path / f"masks/{name}.png").write_bytes(mask_png(np.zeros((4, 6, 3), np.uint8)))
    (tmp_path / "classes.txt").unlink()
    message = refusal(tmp_path, colours=((0, 0, 0), (255, 0, 0)))
    assert message.endswith("such as data.masks.classes='[class0, class1]'.")


def test_masks_of_0_and_255_are_told_how_to_be_two_classes(tmp_path: Path) -> None:
    message = without_classes(tmp_path, 0, 255)
    assert "data.masks.label_map='[[0, 0], [255, 1]]'" in message
    assert "data.masks.classes='[class0, class1]'" in message


def test_unknown_classes_are_asked_for_where_the_masks_cannot_be_read(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "val/b")
    (tmp_path / "masks/train/a.png").write_bytes(b"text")
    (tmp_path / "classes.txt").unlink()
    assert "no classes.txt there\n" in refusal(tmp_path)


def test_colours_are_those_of_the_first_value_of_each_class(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "val/b", classes="sky\nroad\n")
    colours = ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3))
    assert opened(tmp_path, colours=colours).colours == colours[:2]
    label_map = ((9, 0), (2, 1), (1, 0), (3, 0), (0, 255))
    assert opened(tmp_path, colours=colours, label_map=label_map).colours == ((1, 1, 1), (2, 2, 2))


def test_a_label_map_that_does_not_fit_the_file_of_classes_is_refused(tmp_path: Path) -> None:
    message = refusal(write_folders(tmp_path, "train/a", "val/b"), label_map=((0, 3),))
    assert "data.masks.label_map says that the value 0 is class 3, but the 3 classes are 0 to 2" in message


def test_colours_that_do_not_fit_the_file_of_classes_are_refused(tmp_path: Path) -> None:
    assert "colours has none for the class 1" in refusal(
        write_folders(tmp_path, "train/a", "val/b"), colours=((0, 0, 0),)
    )


# Values


@given(st.integers(2, 20), st.integers(0, 300), st.sampled_from(["error", "ignore"]))
def test_without_a_label_map_a_value_is_its_class(num_classes: int, ignore_index: int, others: Any) -> None:
    rules = mask_rules(Masks(ignore_index=ignore_index, others=others), num_classes)
    values = np.arange(num_classes)[None]
    assert np.array_equal(rules.classes_of(values, "m"), values)
    if ignore_index >= num_classes:
        assert rules.classes_of(np.array([[ignore_index]]), "m").tolist() == [[255]]


def test_masks_of_many_colours_become_few_classes(tmp_path: Path) -> None:
    """As CamVid's first release: 32 colours, of which several are one class, and black for none."""
    write_folders(tmp_path, "train/a", "val/b", classes="building\nroad\n")
    colours = (
        (128, 0, 0),
        (0, 128, 64),
        (128, 64, 128),
        (128, 0, 192),
        (0, 0, 0),
    )  # building, bridge, road, lane, void
    (tmp_path / "masks/train/a.png").write_bytes(mask_png(np.array([colours], np.uint8)))
    folder = opened(tmp_path, colours=colours, label_map=((0, 0), (1, 0), (2, 1), (3, 1), (4, 255)))
    assert read_mask(folder.train.masks[0], folder.rules).tolist() == [[0, 0, 1, 1, 255]]
    assert folder.colours == ((128, 0, 0), (128, 64, 128))
