"""Folders of images and masks are found whatever they are called, and are never two classes."""

from __future__ import annotations

import re
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from convsmith.data.masks import mask_search
from convsmith.data.masks.mask_data import MaskData
from convsmith.data.masks.mask_search import find_masks, refuse_masks_as_classes
from convsmith.data.open_data import data_of_recipe
from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from tests.data.folders import write_noise

CLASSES = "data.masks.classes=[ground, road]"


def write(root: Path, images: str, masks: str, names: tuple[str, ...] = ("1", "2", "3", "4")) -> Path:
    """Photographs and masks of 0 and 1: patterns such as img/train/*.jpg, whose * is the name."""
    random = np.random.default_rng(0)
    for name in names:
        for pattern in (images, masks):
            path = root / pattern.replace("*", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(noise if pattern == images else noise[..., 0] // 200).save(path)
    return root


def segmented(root: Path, *keys: str) -> MaskData:
    """The data set as a recipe of segmentation with the keys that were found opens it."""
    (found,) = find_masks(root)
    folder = data_of_recipe(load_recipe("hrnet_w18_seg-folder", [*found.overrides, CLASSES, *keys]), root)
    assert isinstance(folder, MaskData)
    return folder


FLAT = [
    ("image/*.jpg", "label/*.png"),
    ("images/*.jpg", "gt/*.png"),
    ("images/*.jpg", "ground_truth/*.png"),
    ("images/*.jpg", "1st_manual/*.png"),
    ("img/*.jpg", "ann/*.png"),
    ("imagesTr/*_0000.png", "labelsTr/*.png"),
    ("rgb/*.png", "semantic/*.png"),
    ("imgs/*.jpg", "masks/*_mask.png"),
    ("images/img_*.jpg", "labels/label_*.png"),
    ("CXR_png/image/*.png", "CXR_png/mask/*.PNG"),
    ("Original/*.bmp", "GroundTruth/*.png"),
    ("ISIC_Data/ISIC_*.jpg", "ISIC_GroundTruth/ISIC_*_segmentation.png"),
    ("images/*.jpg", "masks/*.png"),
]
PARTS = [
    ("img_dir/PART/*.jpg", "ann_dir/PART/*.png"),
    ("images/PART/deep/*.jpg", "annotations/PART/deep/*.png"),
    ("PART/images_png/*.png", "PART/masks_png/*.png"),
    ("PART/img/*.png", "PART/seg/*.png"),
    ("PART/img/*.png", "PART/label/*.png"),
    ("PART_images/*.jpg", "PART_masks/*.png"),
    ("ISIC-2017_PART_Data/*.jpg", "ISIC-2017_PART_Part1_GroundTruth/*_segmentation.png"),
    ("images/PART/*.jpg", "masks/PART/*.png"),
]


@pytest.mark.parametrize(("images", "masks"), [it for it in FLAT if not it[0].startswith("CXR")])
def test_folders_side_by_side_are_found(tmp_path: Path, images: str, masks: str) -> None:
    folder = segmented(write(tmp_path, images, masks), "data.val_fraction=0.5")
    assert (len(folder.train), len(folder.val)) == (2, 2)
    assert folder.train.read(0)[1].max() == 1


@pytest.mark.parametrize(("images", "masks"), PARTS)
@pytest.mark.parametrize(("train", "val"), [("train", "val"), ("training", "validation"), ("train", "valid")])
def test_parts_are_found_above_the_folders_in_them_and_in_their_names(
    tmp_path: Path, images: str, masks: str, train: str, val: str
) -> None:
    for part, names in ((train, ("1", "2", "3")), (val, ("4",))):
        write(tmp_path, images.replace("PART", part), masks.replace("PART", part), names)
    folder = segmented(tmp_path)
    assert (len(folder.train), len(folder.val)) == (3, 1)


@pytest.mark.parametrize(("images", "masks"), PARTS)
def test_a_test_part_is_not_what_a_training_is_judged_by(tmp_path: Path, images: str, masks: str) -> None:
    for part, names in (("train", ("1", "2", "3", "4")), ("test", ("5", "6"))):
        write(tmp_path, images.replace("PART", part), masks.replace("PART", part), names)
    folder = segmented(tmp_path, "data.val_fraction=0.5")
    assert (len(folder.train), len(folder.val)) == (2, 2)


def test_masks_that_were_jpeg_files_are_found(tmp_path: Path) -> None:
    write(tmp_path, "images/*.jpg", "label/*.png")
    for path in (tmp_path / "label").glob("*.png"):
        mask = np.kron(np.asarray(Image.open(path))[:3, :5], np.ones((10, 8), np.uint8)) * 255
        Image.fromarray(mask).save(path.with_suffix(".jpg"))
        path.unlink()
    assert [found.folders for found in find_masks(tmp_path)] == [("images", "label")]


@pytest.mark.parametrize(
    ("images", "masks"),
    [("photos/*.jpg", "silhouettes/*.png"), ("x/*.png", "y/*.png"), ("train/a/*.png", "train/b/*.png"), *FLAT[:3]],
)
def test_a_named_recipe_for_classes_refuses_them_with_the_keys(tmp_path: Path, images: str, masks: str) -> None:
    write(tmp_path, images, masks)
    with pytest.raises(ConvsmithError, match="holds images and their masks, not two classes") as caught:
        data_of_recipe(load_recipe("resnet18-folder"), tmp_path)
    keys = re.findall(r"'(data\.masks\..+?)'", caught.value.fix)
    folder = data_of_recipe(load_recipe("hrnet_w18_seg-folder", [*keys, CLASSES, "data.val_fraction=0.5"]), tmp_path)
    assert len(folder.train) == 2


BESIDE = [("*.jpg", "*_mask.png"), ("train/*.jpg", "train/*-seg.png"), ("*.png", "*.labels.png"), ("*.jpg", "*_GT.tif")]


@pytest.mark.parametrize(("images", "masks"), BESIDE)
def test_masks_beside_their_images_are_found(tmp_path: Path, images: str, masks: str) -> None:
    folder = segmented(write(tmp_path, images, masks))
    assert len(folder.train) + len(folder.val) == 4
    with pytest.raises(ConvsmithError, match="holds images and their masks, not two classes"):
        data_of_recipe(load_recipe("resnet18-folder"), tmp_path)


def test_photographs_beside_each_other_are_not_masks(tmp_path: Path) -> None:
    write(tmp_path / "photos", "*.jpg", "*_photo.png")
    write(tmp_path / "labels", "*_label.jpg", "none/*.png")
    random = np.random.default_rng(0)
    for name in ("1", "1_label", "2", "2_label"):
        Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    assert not find_masks(tmp_path / "photos")
    assert not find_masks(tmp_path / "labels")
    assert not find_masks(tmp_path)


def test_masks_of_images_that_cannot_be_read_are_not_found(tmp_path: Path) -> None:
    write(tmp_path, "photos/*.jpg", "silhouettes/*.png")
    assert find_masks(tmp_path)
    for path in (tmp_path / "photos").iterdir():
        path.write_bytes(b"no image")
    assert not find_masks(tmp_path)


def test_they_are_two_classes_for_who_says_so(tmp_path: Path) -> None:
    write(tmp_path, "photos/*.jpg", "silhouettes/*.png")
    data = data_of_recipe(load_recipe("resnet18-folder", ["model.num_classes=2"]), tmp_path)
    assert data.classes == ("photos", "silhouettes")


def test_a_recipe_of_segmentation_tells_the_keys_for_other_folders(tmp_path: Path) -> None:
    write(tmp_path, "img_dir/train/*.jpg", "ann_dir/train/*.png")
    with pytest.raises(ConvsmithError, match="no part `train`") as caught:
        data_of_recipe(load_recipe("hrnet_w18_seg-folder"), tmp_path)
    assert "'data.masks.images=img_dir/PART/*' 'data.masks.masks=ann_dir/PART/*'" in caught.value.fix


@pytest.mark.parametrize(
    ("one", "other"), [("cat/*.jpg", "dog/*.jpg"), ("cat/cat_*.jpg", "dog/dog_*.jpg"), ("images/*.jpg", "labels/*.jpg")]
)
def test_photographs_with_equal_names_are_classes(tmp_path: Path, one: str, other: str) -> None:
    for pattern in (one, other):
        write(tmp_path, pattern, "unused/*.png")
    for path in (tmp_path / "unused").iterdir():
        path.unlink()
    (tmp_path / "unused").rmdir()
    assert find_masks(tmp_path) == []


def test_handwritten_digits_with_equal_names_are_classes(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    images = load_digits().images
    for digit in (0, 1):
        (tmp_path / str(digit)).mkdir()
        for i in range(5):
            pixels = np.kron(images[digit + 10 * i], np.ones((4, 4))) * 15
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / str(digit) / f"{i}.png")
    assert find_masks(tmp_path) == []


def test_masks_of_other_images_are_no_masks_of_these(tmp_path: Path) -> None:
    write(tmp_path, "images/*.jpg", "unused/*.png", ("1", "2", "3"))
    write(tmp_path, "unused/*.jpg", "labels/*.png", ("7", "8", "9"))
    assert all(found.folders != ("images", "labels") for found in find_masks(tmp_path))


def test_the_names_of_all_files_are_read_of_nothing_but_what_may_be_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_noise(tmp_path, 4)
    monkeypatch.setattr(mask_search, "images_below", read := Mock())
    refuse_masks_as_classes(tmp_path)
    assert not read.called
