"""Published data sets as they unpack, and what the values in their masks mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convsmith.data.masks.mask_data import mask_rules
from convsmith.data.masks.mask_file import read_mask
from convsmith.data.masks.mask_layouts import LAYOUTS, trees_of
from convsmith.errors import ConvsmithError
from convsmith.recipe.mask_data import LayoutName, Masks, check_class_names
from tests.data.folders import write_files
from tests.data.masks import names, opened, write_folders, write_pairs

NUM_CLASSES: dict[LayoutName, int] = {
    "cityscapes": 19,
    "ade20k": 150,
    "pascal_context_59": 59,
    "pascal_context_60": 60,
    "lip": 20,
    "coco_stuff": 171,
    "coco_stuff_164k": 171,
    "voc": 21,
    "camvid": 11,
}


def classes_of(layout: LayoutName, *values: int) -> list[int]:
    found: list[list[int]] = (
        mask_rules(Masks(layout=layout), NUM_CLASSES[layout]).classes_of(np.array([values], np.uint16), "m").tolist()
    )
    return found[0]


def write_names(root: Path, folder: str, **parts: str) -> None:
    for part, text in parts.items():
        path = root / folder / f"{part}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


# Trees


def test_cityscapes(tmp_path: Path) -> None:
    frames = [("train", "aachen_000000_000019"), ("train", "ulm_000001_000019"), ("val", "lindau_000000_000019")]
    expected = [
        (
            f"leftImg8bit/{part}/{name[:4]}/{name}_leftImg8bit.png",
            f"gtFine/{part}/{name[:4]}/{name}_gtFine_labelIds.png",
        )
        for part, name in frames
    ]
    write_pairs(tmp_path, *expected, value=26)
    for _, mask in expected:
        write_files(tmp_path, mask.replace("labelIds", "color"), mask.replace("labelIds.png", "polygons.json"))
    folder = opened(tmp_path, layout="cityscapes", extra="train+val")
    assert names(folder.train) == expected[:2]
    assert names(folder.val) == expected[2:]
    assert len(folder.extra or ()) == 3
    assert folder.classes[13] == "car"
    assert np.unique(read_mask(folder.val.masks[0], folder.rules)).tolist() == [13]


def test_a_cityscapes_frame_without_label_ids_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, ("leftImg8bit/train/ulm/u_leftImg8bit.png", "gtFine/train/ulm/u_gtFine_color.png"))
    with pytest.raises(ConvsmithError, match=r"first would be gtFine/train/ulm/u_gtFine_labelIds\.png"):
        opened(tmp_path, layout="cityscapes")


@pytest.mark.parametrize(
    "template",
    [
        ("images/{0}ing/ADE_{0}_1.jpg", "annotations/{0}ing/ADE_{0}_1.png"),
        ("{0}/image/ADE_{0}_1.jpg", "{0}/label/ADE_{0}_1.png"),
    ],
)
def test_ade20k(tmp_path: Path, template: tuple[str, str]) -> None:
    image, mask = (name.format("train") for name in template)
    write_pairs(tmp_path, (image, mask), value=150)
    write_pairs(tmp_path, ("images/validation/v.jpg", "annotations/validation/v.png"))
    folder = opened(tmp_path, layout="ade20k")
    assert names(folder.train) == [(image, mask)]
    assert names(folder.val) == [("images/validation/v.jpg", "annotations/validation/v.png")]
    assert np.unique(read_mask(folder.train.masks[0], folder.rules)).tolist() == [149]


@pytest.mark.parametrize(
    ("layout", "masks", "lists"),
    [
        ("voc", "SegmentationClass", "ImageSets/Segmentation"),
        ("pascal_context_59", "SegmentationClassContext", "ImageSets/SegmentationContext"),
        ("pascal_context_60", "SegmentationClassContext", "ImageSets/SegmentationContext"),
    ],
)
def test_voc_lists_the_names_of_a_part(tmp_path: Path, layout: str, masks: str, lists: str) -> None:
    pairs = [(f"JPEGImages/2007_{i}.jpg", f"{masks}/2007_{i}.png") for i in range(3)]
    write_pairs(tmp_path, *pairs, ("JPEGImages/2009_9.jpg", f"{masks}/unlisted.png"))
    write_names(tmp_path, lists, train="2007_2\n2007_0\n", val="2007_1\n", trainval="2007_0\n2007_1\n2007_2\n")
    folder = opened(tmp_path, layout=layout, extra="trainval")
    assert names(folder.train) == [pairs[2], pairs[0]]
    assert names(folder.val) == [pairs[1]]
    assert len(folder.extra or ()) == 3


def test_a_name_whose_mask_is_missing_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, ("JPEGImages/a.jpg", "SegmentationClass/a.png"))
    write_names(tmp_path, "ImageSets/Segmentation", train="a\nb\n", val="a\n")
    with pytest.raises(ConvsmithError, match=r"2 of 4 files .* `JPEGImages/b\.jpg`, `SegmentationClass/b\.png`"):
        opened(tmp_path, layout="voc")


@pytest.mark.parametrize("above", [("TrainVal_images/", "TrainVal_parsing_annotations/"), ("", "")])
def test_lip(tmp_path: Path, above: tuple[str, str]) -> None:
    pairs = [
        (f"{above[0]}{part}_images/1_2.jpg", f"{above[1]}{part}_segmentations/1_2.png") for part in ("train", "val")
    ]
    folder = opened(write_pairs(tmp_path, *pairs), layout="lip")
    assert names(folder.train) + names(folder.val) == pairs
    assert folder.classes[14:16] == ("left arm", "right arm")


def test_coco_stuff_10k_as_hrnet_has_it(tmp_path: Path) -> None:
    pairs = [(f"{part}/image/COCO_1.jpg", f"{part}/label/COCO_1.png") for part in ("train", "val")]
    folder = opened(write_pairs(tmp_path, *pairs, value=182), layout="coco_stuff")
    assert names(folder.train) + names(folder.val) == pairs
    assert folder.classes[read_mask(folder.train.masks[0], folder.rules)[0, 0]] == "wood"


@pytest.mark.parametrize("folders", [("images/", "annotations/"), ("", "stuffthingmaps/")])
def test_coco_stuff_164k(tmp_path: Path, folders: tuple[str, str]) -> None:
    pairs = [(f"{folders[0]}{part}2017/1.jpg", f"{folders[1]}{part}2017/1.png") for part in ("train", "val")]
    folder = opened(write_pairs(tmp_path, *pairs, value=181), layout="coco_stuff_164k")
    assert names(folder.train) + names(folder.val) == pairs
    assert folder.classes[read_mask(folder.train.masks[0], folder.rules)[0, 0]] == "wood"


def test_camvid_as_segnet_has_it(tmp_path: Path) -> None:
    pairs = [(f"{part}/0001TP_1.png", f"{part}annot/0001TP_1.png") for part in ("train", "val", "test")]
    folder = opened(write_pairs(tmp_path, *pairs, value=11), layout="camvid", val="val+test")
    assert names(folder.train) + names(folder.val) == pairs
    assert np.unique(read_mask(folder.train.masks[0], folder.rules)).tolist() == [255]


@pytest.mark.parametrize("layout", NUM_CLASSES)
def test_every_layout_also_reads_folders_of_images_and_masks(tmp_path: Path, layout: str) -> None:
    folder = opened(write_folders(tmp_path, "train/a", "val/b"), layout=layout)
    assert names(folder.val) == [("images/val/b.jpg", "masks/val/b.png")]


@pytest.mark.parametrize("layout", NUM_CLASSES)
def test_a_part_that_is_not_there_is_refused_with_what_was_expected(tmp_path: Path, layout: LayoutName) -> None:
    with pytest.raises(ConvsmithError) as caught:
        opened(tmp_path, layout=layout)
    assert f"no part `train` of the layout `{layout}` in {tmp_path}: it holds no folders" in str(caught.value)
    assert all(str(tree) in caught.value.fix for tree in trees_of(Masks(layout=layout), "train"))


def test_a_published_data_set_without_val_is_not_split_unasked(tmp_path: Path) -> None:
    write_folders(tmp_path, "train/a", "train/b")
    with pytest.raises(ConvsmithError, match="no part `val`"):
        opened(tmp_path, layout="lip")


# Labels


@pytest.mark.parametrize(("layout", "count"), NUM_CLASSES.items())
def test_each_class_has_a_name_and_a_value(layout: LayoutName, count: int) -> None:
    labels = LAYOUTS[layout].labels
    assert labels is not None
    check_class_names(labels.names)
    assert len(labels.names) == count
    assert sorted({*labels.values.values()} - {255}) == list(range(count))


def test_cityscapes_maps_34_label_ids_to_19_train_ids() -> None:
    """cityscapesScripts, helpers/labels.py."""
    of_19 = [7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33]
    assert classes_of("cityscapes", *of_19) == list(range(19))
    assert set(classes_of("cityscapes", *({*range(34)} - {*of_19}), 255)) == {255}


@pytest.mark.parametrize(("layout", "count"), [("ade20k", 150), ("pascal_context_59", 59)])
def test_zero_does_not_count_and_the_others_move_down(layout: LayoutName, count: int) -> None:
    """HRNet's reduce_zero_label: minus 1 on uint8."""
    assert classes_of(layout, *range(count + 1)) == [255, *range(count)]


@pytest.mark.parametrize(("layout", "count"), [("pascal_context_60", 60), ("lip", 20), ("voc", 21)])
def test_values_that_are_classes_stay(layout: LayoutName, count: int) -> None:
    assert classes_of(layout, *range(count), 255) == [*range(count), 255]


def test_coco_stuff_maps_the_171_ids_that_occur() -> None:
    """HRNet's cocostuff.py: its ids without 0, in order, are the classes; what it makes 254 is an error here."""
    gone = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
    ids = [value for value in range(1, 183) if value not in gone]
    assert classes_of("coco_stuff", 0, *ids, 255) == [255, *range(171), 255]
    for value in sorted(gone):
        with pytest.raises(ConvsmithError, match=f"it holds the value {value}, not only"):
            classes_of("coco_stuff", value)


def test_coco_stuff_164k_holds_the_ids_less_one() -> None:
    ids = [value for value, target in LAYOUTS["coco_stuff"].labels.values.items() if target < 255]  # type: ignore[union-attr]
    assert classes_of("coco_stuff_164k", *[value - 1 for value in ids], 255) == [*range(171), 255]


def test_camvid_has_11_classes_and_a_value_for_none() -> None:
    assert classes_of("camvid", *range(12)) == [*range(11), 255]


def test_published_colours_tell_the_classes_apart() -> None:
    for layout in ("cityscapes", "voc", "camvid"):
        labels = LAYOUTS[layout].labels
        assert labels is not None
        assert labels.colours is not None
        assert len(set(labels.colours)) == len(labels.names)


def test_ade20k_gives_two_of_its_150_classes_one_colour() -> None:
    labels = LAYOUTS["ade20k"].labels
    assert labels is not None
    assert labels.colours is not None
    assert (len(labels.colours), len(set(labels.colours))) == (150, 149)
