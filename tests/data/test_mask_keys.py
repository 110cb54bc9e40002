"""Folders of images and masks by their names: images_dir, masks_dir, mask_suffix; masks beside images; their kinds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from convsmith.data.open_data import data_of_recipe
from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from convsmith.recipe.mask_data import Masks
from tests.data.folders import png
from tests.data.masks import names, opened


def write(root: Path, *pairs: tuple[str, str]) -> Path:
    """An image of 6 x 4 pixels and a mask of zeros for each pair of paths, the mask as its ending says."""
    for image, mask in pairs:
        for name in (image, mask):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / image).write_bytes(png())
        values = np.zeros((4, 6), np.uint8)
        data = io.BytesIO()
        if mask.endswith(".npy"):
            np.save(data, values)
        else:
            Image.fromarray(values).save(data, {"bmp": "BMP", "png": "PNG"}.get(mask[-3:].lower(), "TIFF"))
        (root / mask).write_bytes(data.getvalue())
    (root / "classes.txt").write_text("ground\nroad\n")
    return root


def pairs_of(root: Path, **keys: Any) -> list[tuple[str, str]]:
    folder = opened(root, None, **keys)
    for i in range(len(folder.train)):
        assert folder.train.read(i)[1].shape == (4, 6)
    return names(folder.train)


def refusal(root: Path, **keys: Any) -> str:
    with pytest.raises(ConvsmithError) as caught:
        opened(root, None, **keys)
    return str(caught.value)


@pytest.mark.parametrize(
    ("image", "mask", "keys"),
    [
        ("photos/1.jpg", "labels/1.png", {"images_dir": "photos", "masks_dir": "labels"}),
        ("photos/1.jpg", "labels/1_mask.png", {"images_dir": "photos", "masks_dir": "labels", "mask_suffix": "_mask"}),
        ("photos/1.jpg", "labels/1_m.tif", {"images_dir": "photos/", "masks_dir": "./labels", "mask_suffix": "_m.tif"}),
        ("deep/photos/1.jpg", "deep/labels/1.png", {"images_dir": "deep/photos", "masks_dir": "deep/labels"}),
        ("photos/train/1.jpg", "labels/train/1.png", {"images_dir": "photos", "masks_dir": "labels"}),
        ("train/img/1.jpg", "train/seg/1.png", {"images_dir": "PART/img", "masks_dir": "PART/seg"}),
        ("images/1.jpg", "masks/1_mask.png", {"mask_suffix": "_mask"}),
        ("images/1.jpg", "labels/1.png", {"masks_dir": "labels"}),
        ("1.jpg", "masks/1.png", {"images_dir": "."}),
        ("1.jpg", "masks/1.png", {"images_dir": ".", "masks_dir": "masks"}),
        ("images/1.jpg", "1.png", {"masks_dir": "."}),
    ],
)
def test_keys_say_where_images_and_masks_are(tmp_path: Path, image: str, mask: str, keys: dict[str, str]) -> None:
    assert pairs_of(write(tmp_path, (image, mask)), **keys) == [(image, mask)]


@pytest.mark.parametrize(
    ("image", "mask", "keys"),
    [
        ("scans/1.jpg", "scans/1_mask.png", {"images_dir": "scans", "mask_suffix": "_mask"}),
        ("scans/1.jpg", "scans/1.png", {"images_dir": "scans", "masks_dir": "scans"}),
        ("scans/1.tif", "scans/1.png", {"images_dir": "scans", "mask_suffix": ".png"}),
        ("scans/1.png", "scans/1.npy", {"images_dir": "scans", "masks_dir": "scans"}),
        ("scans/1.png", "scans/1.tif", {"images_dir": "scans", "mask_suffix": ".tif"}),
        ("scans/train/1.png", "scans/train/1_mask.PNG", {"images_dir": "scans", "mask_suffix": "_mask.png"}),
        ("1.jpg", "1_mask.png", {"images_dir": ".", "mask_suffix": "_mask"}),
        ("1.jpg", "1.png", {"images_dir": ".", "masks_dir": "."}),
        ("train/1.jpg", "train/1_mask.png", {"images_dir": ".", "mask_suffix": "_mask"}),
        ("train/1_sat.jpg", "train/1_mask.png", {"images": "PART/*_sat", "masks": "PART/*_mask.png"}),
        ("1.jpg", "1_mask.png", {"images": "*", "masks": "*_mask"}),
        ("1.jpg", "1.tif", {"images": "*.jpg", "masks": "*.tif"}),
    ],
)
def test_masks_may_lie_beside_their_images(tmp_path: Path, image: str, mask: str, keys: dict[str, str]) -> None:
    assert pairs_of(write(tmp_path, (image, mask)), **keys) == [(image, mask)]


@pytest.mark.parametrize("ending", ["png", "PNG", "tif", "TIFF", "bmp", "BMP", "npy", "Tif"])
def test_a_mask_may_be_of_each_kind_in_any_case(tmp_path: Path, ending: str) -> None:
    pair = ("images/train/1.jpg", f"masks/train/1.{ending}")
    assert pairs_of(write(tmp_path, pair)) == [pair]


def test_files_beside_that_are_neither_are_noted(tmp_path: Path) -> None:
    write(tmp_path, ("scans/1.jpg", "scans/1_mask.png"))
    (tmp_path / "scans/notes.txt").write_text("")
    folder = opened(tmp_path, None, images_dir="scans", mask_suffix="_mask")
    assert folder.notes == ("left out, not images: 1 .txt",)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"images_dir": "photo"},
            "data.masks.images_dir is photo, but there is no folder {}/photo; did you mean `photos`?",
        ),
        (
            {"images_dir": "photos", "masks_dir": "masks2"},
            "data.masks.masks_dir is masks2, but there is no folder {}/masks2",
        ),
        (
            {"images": "foto/PART/*", "masks": "labels/PART/*"},
            "data.masks.images is foto/PART/*, but there is no folder {}/foto",
        ),
        (
            {"images_dir": "photos", "masks_dir": "labels", "mask_suffix": "_seg"},
            "have no mask: `photos/1.jpg`: the mask of the first would be labels/1_seg.png",
        ),
        (
            {"images_dir": "photos", "masks_dir": "labels", "mask_suffix": ".npy"},
            "the mask of the first would be labels/1.npy",
        ),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, keys: dict[str, str], said: str) -> None:
    assert said.format(tmp_path) in refusal(write(tmp_path, ("photos/1.jpg", "labels/1.png")), **keys)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"images_dir": "/photos"}, "is not a folder in the data folder"),
        ({"masks_dir": "../labels"}, "is not a folder in the data folder"),
        ({"masks_dir": ""}, "is not a folder in the data folder"),
        ({"mask_suffix": "a/b"}, "is not the end of a name"),
        ({"mask_suffix": ""}, "is not the end of a name"),
        ({"images_dir": "a", "images": "b/PART/*"}, "images_dir and images say the same"),
        ({"mask_suffix": "_m", "masks": "b/PART/*"}, "mask_suffix and masks say the same"),
        ({"images_dir": "PART/a", "masks_dir": "b", "layout": "voc"}, "images_dir does nothing where layout is voc"),
        ({"images": "*.png", "masks": "*.png"}, "would be both an image and its mask"),
    ],
)
def test_keys_that_cannot_be_meant_are_refused_in_the_recipe(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Masks(**keys)


def test_the_keys_go_on_the_command_line(tmp_path: Path) -> None:
    write(tmp_path, ("photos/1.jpg", "labels/1_m.png"), ("photos/2.jpg", "labels/2_m.png"))
    words = ["data.masks.images_dir=photos", "data.masks.masks_dir=labels", "data.masks.mask_suffix=_m"]
    assert len(data_of_recipe(load_recipe("hrnet_w18_seg-folder", words), tmp_path).train) == 1
