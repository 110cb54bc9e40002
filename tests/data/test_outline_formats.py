"""labelme's JSON, CVAT's XML and YOLO's text files as data for segmentation."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convsmith.data.open_data import open_data
from convsmith.data.source import is_known, task_of
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from convsmith.spec import Bands
from tests.data.masks import mask_png
from tests.data.polygons import LEFT, SQUARE, mask, opened, write_images

SQUARE_MASK = [[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]]
POINTS = [[x, y] for x, y in zip(SQUARE[::2], SQUARE[1::2], strict=True)]
LEFT_POINTS = [[x, y] for x, y in zip(LEFT[::2], LEFT[1::2], strict=True)]


def refusal(path: Path, **masks: Any) -> str:
    with pytest.raises(ConvsmithError) as caught:
        opened(path, **masks)
    return str(caught.value)


# labelme


def labelme(root: Path, *shapes: dict[str, Any], name: str = "1", **keys: Any) -> Path:
    write_images(root, f"{name}.jpg")
    facts: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": [{"label": "cat", "points": POINTS, **it} for it in shapes],
    }
    facts |= {"imagePath": f"{Path(name).name}.jpg", "imageData": None, "imageHeight": 4, "imageWidth": 6}
    path = root / f"{name}.json"
    path.write_text(json.dumps(facts | keys))
    return path


def test_labelmes_files_lie_beside_their_images(tmp_path: Path) -> None:
    path = labelme(tmp_path, {})
    labelme(tmp_path, {"label": "dog"}, name="2")
    write_images(tmp_path, "3.jpg")
    assert task_of(tmp_path) == task_of(path) == "segmentation"
    dataset = opened(tmp_path)
    assert (dataset.classes, len(dataset.train)) == (("background", "cat", "dog"), 2)
    assert mask(dataset, 0).tolist() == mask(opened(path)).tolist() == SQUARE_MASK
    assert mask(dataset, 1).tolist() == (2 * np.array(SQUARE_MASK)).tolist()


def test_labelmes_folders_are_parts(tmp_path: Path) -> None:
    labelme(tmp_path, {}, name="train/deep/1")
    labelme(tmp_path, {}, name="train/2")
    labelme(tmp_path, {}, name="valid/3")
    dataset = opened(tmp_path)
    assert (len(dataset.train), len(dataset.val)) == (2, 1)


def test_the_later_shape_of_labelme_is_above(tmp_path: Path) -> None:
    labelme(tmp_path, {}, {"label": "dog", "points": LEFT_POINTS})
    assert mask(opened(tmp_path))[1].tolist() == [2, 2, 2, 1, 0, 0]


@pytest.mark.parametrize(
    ("shape", "pixels"),
    [
        ({"shape_type": "rectangle", "points": [[1, 1], [4, 3]]}, SQUARE_MASK),
        ({"shape_type": "rectangle", "points": [[4, 3], [1, 1]]}, SQUARE_MASK),
        (
            {"shape_type": "circle", "points": [[2, 2], [3.5, 2]]},
            [[0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]],
        ),
        (
            {
                "shape_type": "mask",
                "points": [[1, 1], [3, 2]],
                "mask": base64.b64encode(mask_png([[1, 0, 1], [0, 1, 1]])).decode(),
            },
            [[0] * 6, [0, 1, 0, 1, 0, 0], [0, 0, 1, 1, 0, 0], [0] * 6],
        ),
        (
            {
                "shape_type": "mask",
                "points": [[-1, -1], [1, 0]],
                "mask": base64.b64encode(mask_png([[1, 1, 1], [0, 1, 1]])).decode(),
            },
            [[1, 1, 0, 0, 0, 0], [0] * 6, [0] * 6, [0] * 6],
        ),
        ({"label": "__ignore__"}, [[255 * value for value in row] for row in SQUARE_MASK]),
    ],
)
def test_labelmes_kinds_of_shapes(tmp_path: Path, shape: dict[str, Any], pixels: list[list[int]]) -> None:
    labelme(tmp_path, shape)
    labelme(tmp_path, {}, name="2")
    found = mask(opened(tmp_path))
    if shape.get("shape_type") == "circle":
        assert found.sum() >= 4
        assert (found[1:3, 1:3] == 1).all()
    else:
        assert found.tolist() == pixels


def test_the_radius_of_labelmes_circle_is_the_distance_of_its_points(tmp_path: Path) -> None:
    found = []
    for name, end in (("level", [3.5, 2]), ("slanted", [3.2, 2.9])):
        labelme(tmp_path / name, {"shape_type": "circle", "points": [[2, 2], end]})
        labelme(tmp_path / name, {}, name="2")
        found.append(mask(opened(tmp_path / name)).tolist())
    assert found[0] == found[1]


def test_labelmes_points_and_lines_are_noted(tmp_path: Path) -> None:
    labelme(tmp_path, {}, {"shape_type": "point"}, {"shape_type": "linestrip"})
    assert opened(tmp_path).notes == ("left out, without an area: 1 point, 1 linestrip",)


def test_labels_txt_gives_labelmes_classes_their_order(tmp_path: Path) -> None:
    labelme(tmp_path, {})
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ndog\ncat\n")
    dataset = opened(tmp_path)
    assert dataset.classes == ("_background_", "dog", "cat")
    assert mask(dataset)[1].tolist() == [0, 2, 2, 2, 0, 0]
    (tmp_path / "labels.txt").write_text("dog\nlion\n")
    assert "has areas of the class `cat`, which its list of classes lacks" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["..\\photos\\1.jpg", "../raw/1.jpg"])
def test_labelmes_images_are_found_after_a_move(tmp_path: Path, name: str) -> None:
    labelme(tmp_path, {}, imagePath=name)
    assert mask(opened(tmp_path)).tolist() == SQUARE_MASK


@pytest.mark.parametrize(
    ("shape", "keys", "said"),
    [
        ({"label": 5}, {}, "shape 1 of {} has a `label` that is not text"),
        ({"shape_type": "cube"}, {}, "shape 1 of {} is of the kind cube"),
        ({"points": 5}, {}, "shape 1 of {} has no list of `points`"),
        ({"points": [[1, 2, 3]]}, {}, "shape 1 of {} has no list of `points`"),
        ({"points": [[1, 2], [3, 4]]}, {}, "shape 1 of 1.json of {} has a polygon of 2 corners"),
        ({"points": [[1, 2], [3, 4], [1e9, 5]]}, {}, "far outside"),
        ({"shape_type": "rectangle"}, {}, "shape 1 of {} is a rectangle of 4 points, not two"),
        ({"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "%%"}, {}, "has a mask that cannot be read"),
        ({"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "aGVsbG8="}, {}, "has a mask that cannot be read"),
        (
            {"shape_type": "mask", "points": [[50, 0], [51, 1]], "mask": base64.b64encode(mask_png([[1]])).decode()},
            {},
            "outside of the image",
        ),
        ({}, {"imagePath": None}, "{} has an `imagePath` that is not text"),
        ({}, {"imageWidth": None}, "{} does not say its width and height"),
        ({}, {"imagePath": "no.jpg"}, "1 of 1 image that"),
        ({}, {"shapes": 5}, "{} has no list of `shapes`"),
    ],
)
def test_what_labelme_cannot_mean_is_named(tmp_path: Path, shape: Any, keys: Any, said: str) -> None:
    path = labelme(tmp_path, shape, **keys)
    assert said.format(path) in refusal(path)


# CVAT


def cvat(path: Path, shapes: str, names: str = "1.jpg", labels: str = "cat dog", head: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    named = "".join(f"<label><name>{name}</name><color>#ff0000</color></label>" for name in labels.split())
    images = "".join(
        f'<image id="{i}" name="{name}" width="6" height="4">{shapes}</image>' for i, name in enumerate(names.split())
    )
    meta = f"<meta><task><labels>{named}</labels></task></meta>"
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>{head}<annotations><version>1.1</version>{meta}{images}</annotations>'
    )
    return path


POLYGON = '<polygon label="cat" occluded="0" points="1.0,1.0;4.0,1.0;4.0,3.0;1.0,3.0" z_order="0"></polygon>'


@pytest.mark.parametrize("folder", ["", "images"])
def test_cvats_file_names_images_beside_it(tmp_path: Path, folder: str) -> None:
    write_images(tmp_path / folder, "1.jpg")
    path = cvat(tmp_path / "annotations.xml", POLYGON)
    assert task_of(tmp_path) == task_of(path) == "segmentation"
    for given in (path, tmp_path):
        dataset = opened(given)
        assert dataset.classes == ("background", "cat", "dog")
        assert mask(dataset).tolist() == SQUARE_MASK


@pytest.mark.parametrize(
    ("shape", "pixels"),
    [
        ('<box label="cat" xtl="1" ytl="1" xbr="4" ybr="3"/>', SQUARE_MASK),
        (
            '<mask label="cat" rle="1, 2, 1, 2" left="1" top="1" width="3" height="2"/>',
            [[0] * 6, [0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0], [0] * 6],
        ),
        ('<mask label="cat" rle="0, 6" left="1" top="1" width="3" height="2"/>', SQUARE_MASK),
        ('<box label="cat" xtl="1.5" ytl="0.5" xbr="3.5" ybr="3.5" rotation="90"/>', SQUARE_MASK),
    ],
)
def test_cvats_kinds_of_shapes(tmp_path: Path, shape: str, pixels: list[list[int]]) -> None:
    write_images(tmp_path, "1.jpg")
    assert mask(opened(cvat(tmp_path / "a.xml", shape))).tolist() == pixels


def test_an_ellipse_of_cvat_has_its_area(tmp_path: Path) -> None:
    write_images(tmp_path, "1.jpg")
    found = mask(opened(cvat(tmp_path / "a.xml", '<ellipse label="cat" cx="3" cy="2" rx="2" ry="1"/>')))
    assert 4 <= found.sum() <= 8
    assert found[1, 2] == found[2, 3] == 1


def test_the_higher_z_order_of_cvat_is_above(tmp_path: Path) -> None:
    write_images(tmp_path, "1.jpg")
    left = '<polygon label="dog" points="0,0;3,0;3,4;0,4" z_order="{}"/>'
    assert mask(opened(cvat(tmp_path / "a.xml", POLYGON + left.format(0))))[1].tolist() == [2, 2, 2, 1, 0, 0]
    assert mask(opened(cvat(tmp_path / "a.xml", POLYGON + left.format(-1))))[1].tolist() == [2, 1, 1, 1, 0, 0]


def test_cvats_subsets_are_parts(tmp_path: Path) -> None:
    write_images(tmp_path, "images/Train/1.jpg", "images/Validation/2.jpg")
    path = cvat(tmp_path / "annotations.xml", POLYGON, "1.jpg 2.jpg")
    text = path.read_text().replace('name="1.jpg"', 'name="1.jpg" subset="Train"')
    path.write_text(text.replace('name="2.jpg"', 'name="2.jpg" subset="Validation"'))
    dataset = opened(path)
    assert (len(dataset.train), len(dataset.val)) == (1, 1)


def test_cvats_lines_and_tags_are_noted(tmp_path: Path) -> None:
    write_images(tmp_path, "1.jpg")
    path = cvat(tmp_path / "a.xml", POLYGON + '<polyline label="cat" points="1,1;2,2"/><tag label="dog"/>')
    assert opened(path).notes == ("left out, without an area: 1 polyline, 1 tag",)


BOMB = '<!DOCTYPE a [<!ENTITY x "xxxx"><!ENTITY y "&x;&x;&x;">]>'


@pytest.mark.parametrize(
    ("shapes", "head", "said"),
    [
        (
            '<polygon label="cat" points="1,1;2"/>',
            "",
            "has a polygon 1 that has `points` that are not x,y",
        ),
        ('<polygon label="cat" points="1,1;2,2"/>', "", "polygon 1 of image 1.jpg of {} has a polygon of 2 corners"),
        ('<polygon label="cat" points="1,1;2,2;nan,3"/>', "", "has a corner that is not a number"),
        ('<polygon label="cat" points="1,1;2,2;x,3"/>', "", "could not convert"),
        ('<polygon points="1,1;2,2;3,3"/>', "", "has a polygon 1 that has a `label` that is not text"),
        ('<polygon label="cow" points="1,1;2,2;3,3"/>', "", "has areas of the class `cow`"),
        ('<box label="cat" xtl="1"/>', "", "has a box 1 that has no number `ytl`"),
        ('<box label="cat" xtl="1" ytl="1e99" xbr="4" ybr="3"/>', "", "has the number 1e+99 as `ytl`"),
        (
            '<mask label="cat" rle="1,99" left="1" top="1" width="3" height="2"/>',
            "",
            "its counts reach from 1 to 99",
        ),
        ('<mask label="cat" rle="1,2" left="1" top="1" width="3" height="2"/>', "", "its counts add up to 3"),
        ('<mask label="cat" rle="9" left="5" top="1" width="3" height="3"/>', "", "outside of the image of 6 x 4"),
        ('<sphere label="cat"/>', "", "image 1.jpg of {} has a shape of the kind sphere"),
        ("<polygon", "", "{} is not XML"),
        (POLYGON, BOMB, "it declares a document type, which could define entities"),
    ],
)
def test_what_cvat_cannot_mean_is_named(tmp_path: Path, shapes: str, head: str, said: str) -> None:
    write_images(tmp_path, "1.jpg")
    path = cvat(tmp_path / "a.xml", shapes, head=head)
    assert said.format(path) in refusal(path)


def test_cvats_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text('<annotations><track id="0" label="cat"></track></annotations>')
    assert "is CVAT's XML for video" in refusal(tmp_path / "a.xml")


# YOLO


def yolo(root: Path, yaml: str = "train: images/train\nval: images/val\nnames: [cat, dog]\n", line: str = "") -> Path:
    shares = [value / (6, 4)[place % 2] for place, value in enumerate(SQUARE)]
    for name in ("train/1", "val/2"):
        write_images(root, f"images/{name}.jpg")
        path = root / f"labels/{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line or f"0 {' '.join(map(repr, shares))}\n\n")
    (root / "data.yaml").write_text(yaml)
    return root


@pytest.mark.parametrize(
    "yaml",
    [
        "train: images/train\nval: images/val\nnames: [cat, dog]\n",
        "path: .\ntrain: [images/train]\nval: images/val\nnames:\n  0: cat\n  1: dog\nnc: 2\n",
        "train: ../images/train\nval: ../images/val\nnc: 2\nnames: ['cat', 'dog']\n",
        "train: train.txt\nval: val.txt\nnames: [cat, dog]\n",
    ],
)
def test_yolos_lines_are_areas(tmp_path: Path, yaml: str) -> None:
    root = yolo(tmp_path / "set", yaml)
    (root / "train.txt").write_text("images/train/1.jpg\n")
    (root / "val.txt").write_text("./images/val/2.jpg\n")
    assert task_of(root) == task_of(root / "data.yaml") == "segmentation"
    for given in (root, root / "data.yaml"):
        dataset = opened(given)
        assert (dataset.classes, len(dataset.train), len(dataset.val)) == (("background", "cat", "dog"), 1, 1)
        assert mask(dataset).tolist() == SQUARE_MASK


def test_yolos_images_without_labels_are_background_and_noted(tmp_path: Path) -> None:
    root = yolo(tmp_path)
    (root / "labels/train/1.txt").unlink()
    dataset = opened(root)
    assert not mask(dataset).any()
    assert dataset.notes == ("1 image without a file of labels: nothing is outlined in them",)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_areas_in_shares_of_images_of_other_channels_are_drawn(tmp_path: Path, channels: int) -> None:
    root = yolo(tmp_path, "train: train.txt\nnames: [cat, dog]\n")
    np.save(root / "images/train/1.npy", np.zeros((4, 6, channels), np.uint8))
    (root / "train.txt").write_text("images/train/1.npy\n")
    dataset = open_data("segmentation", Data(channels=channels), root, hold_out=False)
    _, drawn = dataset.train.read(0, Bands(channels))
    assert drawn.tolist() == SQUARE_MASK


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.2 0.2", "line 1 of {} is a box, not a polygon"),
        ("2 0 0 1 0 1 1", "line 1 of {} begins with 2, which is not the number of one of the 2 classes"),
        ("-1 0 0 1 0 1 1", "line 1 of {} begins with -1"),
        ("0 0 0 1 0 1", "line 1 of {} is a polygon of 5 numbers"),
        ("0 0 0 1 x 1 1", "line 1 of {} holds what is not a number"),
        ("0 0 0 1 nan 1 1", "has a corner that is not a number"),
        ("0 0 0 400 0 1 1", "far outside"),
    ],
)
def test_a_line_of_yolo_that_cannot_be_meant_is_named(tmp_path: Path, line: str, said: str) -> None:
    root = yolo(tmp_path, line=line)
    assert said.format(root / "data.yaml") in refusal(root).replace(
        str(root / "labels/train/1.txt"), str(root / "data.yaml")
    )


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("train: images/none\nnames: [cat]\n", "`train` of {} is images/none, which is not there"),
        ("train: labels/train\nnames: [cat]\n", "`train` of {} is labels/train, a folder without images"),
        ("train: images/train\nnames: {1: cat}\n", "`names` of {} does not number the classes from 0 on"),
        ("train: images/train\nnames: 5\n", "`names` of {} is not a list of classes"),
        ("train: 5\nnames: [cat]\n", "`train` of {} has a path that is not text"),
    ],
)
def test_a_file_of_yolo_that_cannot_be_meant_is_named(tmp_path: Path, yaml: str, said: str) -> None:
    root = yolo(tmp_path, yaml)
    assert said.format(root / "data.yaml") in refusal(root)


def test_another_json_file_is_refused_with_the_formats_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2]")
    assert "in the JSON of COCO or labelme, CVAT's XML for images, and YOLO's data.yaml" in refusal(tmp_path / "a.json")


def test_other_yaml_files_are_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("extends: resnet18-folder\n")
    assert not is_known(tmp_path / "data.yaml")
    assert not is_known(tmp_path)
