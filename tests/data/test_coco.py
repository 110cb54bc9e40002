"""COCO's JSON as data for segmentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_masks  # type: ignore[import-untyped]
from pycocotools.coco import COCO  # type: ignore[import-untyped]

from convsmith.analyze.check_data import check_data
from convsmith.data.open_data import open_data
from convsmith.data.source import find_opener, is_known, task_of
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from tests.data.folders import png, write_files
from tests.data.masks import write_folders
from tests.data.polygons import LEFT, SQUARE, coco, mask, opened, write_coco, write_images

SQUARE_MASK = [[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_images(tmp_path, "1.jpg")


def refusal(path: Path, content: Any = None, **masks: Any) -> str:
    if content is not None:
        write_coco(path, content)
    with pytest.raises(ConvsmithError) as caught:
        opened(path, **masks)
    return str(caught.value)


def of(root: Path, *annotations: dict[str, Any], **keys: Any) -> list[list[int]]:
    """The mask of the one image."""
    found: list[list[int]] = mask(opened(write_coco(root / "a.json", coco(annotations, **keys)))).tolist()
    return found


def test_a_polygon_is_the_class_of_its_category_and_the_rest_is_background(root: Path) -> None:
    path = write_coco(root / "a.json", coco([{"segmentation": [SQUARE]}]))
    dataset = opened(path)
    assert (task_of(path), dataset.classes) == ("segmentation", ("background", "cat", "dog"))
    assert mask(dataset).tolist() == SQUARE_MASK
    assert np.asarray(dataset.train.read(0)[0])[0, 0].tolist()[1:] != [0, 0]


def test_categories_are_in_the_order_of_their_ids(root: Path) -> None:
    categories = [{"id": 10, "name": "ape"}, {"id": 2, "name": "bee"}, {"id": 1, "name": "cat"}]
    path = write_coco(root / "a.json", coco([{"segmentation": [SQUARE]}], categories=categories))
    assert opened(path).classes == ("background", "cat", "bee", "ape")


def test_a_category_that_is_the_background_is_what_nothing_covers(root: Path) -> None:
    categories = [{"id": 1, "name": "cat"}, {"id": 7, "name": "Background"}]
    path = write_coco(root / "a.json", coco([{"segmentation": [SQUARE]}], categories=categories))
    assert opened(path).classes == ("cat", "Background")
    assert mask(opened(path)).tolist() == [[1 - value for value in row] for row in SQUARE_MASK]


def test_several_polygons_are_one_area(root: Path) -> None:
    both = of(root, {"segmentation": [[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 4, 1, 4, 3, 1, 3]]})
    assert np.array(both).sum() == 4 + 6 - 1


def runs(compressed: bool) -> dict[str, Any]:
    encoded = coco_masks.encode(np.asfortranarray(np.array(SQUARE_MASK, np.uint8)))
    if compressed:
        return {"size": [4, 6], "counts": encoded["counts"].decode()}
    return {"size": [4, 6], "counts": [5, 2, 2, 2, 2, 2, 9]}


@pytest.mark.parametrize("compressed", [True, False])
def test_runs_are_pixels(root: Path, compressed: bool) -> None:
    assert of(root, {"segmentation": runs(compressed)}) == SQUARE_MASK


def test_the_smaller_area_is_above_in_any_order(root: Path) -> None:
    large, small = {"segmentation": [LEFT]}, {"segmentation": [SQUARE], "category_id": 7}
    assert of(root, large, small) == of(root, small, large)
    assert of(root, large, small)[1] == [1, 2, 2, 2, 0, 0]


def test_the_later_one_of_equal_areas_is_above(root: Path) -> None:
    assert of(root, {"segmentation": [SQUARE]}, {"segmentation": [SQUARE], "category_id": 7})[1] == [0, 2, 2, 2, 0, 0]


def test_what_does_not_count_is_not_proposed_as_a_class(root: Path) -> None:
    crowd = {"segmentation": {"size": [4, 6], "counts": [0, 4, 20]}, "iscrowd": 1, "category_id": 7}
    areas = [{"segmentation": [SQUARE], "image_id": 1}, {"segmentation": [SQUARE], "image_id": 2}]
    crowds = [{**crowd, "image_id": 1}, {**crowd, "image_id": 2}]
    path = write_coco(write_images(root, "1.jpg", "2.jpg") / "a.json", coco([*areas, *crowds], ("1.jpg", "2.jpg")))
    problem = check_data(path).problem
    assert problem is not None
    assert "1 of 3 classes have no pixel in the training masks: `dog`" in problem
    assert "label_map" not in problem


def test_a_crowd_does_not_count_where_nothing_else_is(root: Path) -> None:
    crowd = {"segmentation": {"size": [4, 6], "counts": [0, 24]}, "iscrowd": 1}
    assert of(root, {"segmentation": [SQUARE]}, crowd) == [[1 if cell else 255 for cell in row] for row in SQUARE_MASK]


def test_images_without_annotations_are_background(root: Path) -> None:
    write_images(root, "1.jpg", "2.jpg")
    assert not np.any(of(root, {"segmentation": [SQUARE], "image_id": 2}, names=("1.jpg", "2.jpg")))


def test_the_masks_are_those_of_cocos_own_programs(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = [f"{i}.png" for i in range(8)]
    for name in names:
        (tmp_path / name).write_bytes(png(size=(50, 40)))
    annotations = [
        {
            "segmentation": [(random.random((6, 2)) * (50, 40)).round(2).reshape(-1).tolist()],
            "image_id": i,
            "category_id": 1,
        }
        for i in range(1, 9)
    ]
    images = [{"id": i, "file_name": name, "width": 50, "height": 40} for i, name in enumerate(names, 1)]
    path = write_coco(tmp_path / "a.json", coco(annotations, images=images))
    official, ours = COCO(str(path)), opened(path)
    for i, annotation in enumerate(annotations):
        assert np.array_equal(mask(ours, i), official.annToMask({**annotation, "iscrowd": 0}))


@pytest.mark.parametrize(
    ("annotation_file", "images"),
    [
        ("annotations.json", "images"),
        ("annotations.json", "."),
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_train2017.json", "images/train2017"),
        ("labels.json", "data"),
        ("annotations/a.json", "images"),
    ],
)
def test_images_are_found_where_they_usually_lie(tmp_path: Path, annotation_file: str, images: str) -> None:
    write_images(tmp_path, f"{images}/1.jpg")
    path = write_coco(tmp_path / annotation_file, coco([{"segmentation": [SQUARE]}]))
    for given in (path, tmp_path):
        assert mask(opened(given)).tolist() == SQUARE_MASK


@pytest.mark.parametrize("name", ["C:\\photos\\1.jpg", "elsewhere/1.jpg", "./1.jpg", "/gone/1.jpg"])
def test_images_are_found_by_their_own_name_where_folders_have_changed(root: Path, name: str) -> None:
    assert of(root, {"segmentation": [SQUARE]}, names=(name,)) == SQUARE_MASK


def test_a_key_says_where_the_images_are(tmp_path: Path) -> None:
    write_images(tmp_path, "photos/1.jpg", "1.jpg")
    dataset = opened(write_coco(tmp_path / "a.json", coco([{"segmentation": [SQUARE]}])), images_dir="photos")
    assert dataset.train.name(0) == str(tmp_path / "photos/1.jpg")


@pytest.mark.parametrize("names", [("train", "val", "test"), ("train", "valid", "test")])
@pytest.mark.parametrize(
    "layout", ["annotations/instances_{}2017.json", "{}/_annotations.coco.json", "{}.json", "annotations/{}.json"]
)
def test_a_folder_has_its_parts(tmp_path: Path, layout: str, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        path = tmp_path / layout.format(name)
        folder = path.parent if name in path.parent.name else tmp_path / "images"
        write_images(folder, f"{number}.jpg", f"{number}b.jpg")
        content = coco([{"segmentation": [SQUARE]}], (f"{number}.jpg", f"{number}b.jpg"))
        write_coco(path, content)
    write_coco(tmp_path / "annotations/captions_train2017.json", {"info": {}, "annotations": []})
    dataset = opened(tmp_path)
    assert (len(dataset.train), len(dataset.val)) == (2, 2)
    assert dataset.notes == ("left out: 2 images of the part `test`",)
    assert Path(dataset.val.name(0)).name == "1.jpg"


def test_without_a_part_to_validate_on_a_share_is_held_out(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(10)]
    path = write_coco(write_images(tmp_path, *names) / "a.json", coco([{"segmentation": [SQUARE]}], names))
    dataset = opened(path, 0.3)
    assert (len(dataset.train), len(dataset.val)) == (7, 3)
    assert dataset.notes == ("no part for validation: held out 3 of 10 images, the same ones each time",)


def test_annotations_without_an_area_are_noted(root: Path) -> None:
    path = write_coco(root / "a.json", coco([{"segmentation": [SQUARE]}, {"segmentation": []}, {"bbox": [0, 0, 1, 1]}]))
    assert opened(path).notes == ("left out: 2 annotations without a `segmentation`",)


def test_the_digest_is_the_same_elsewhere_and_changes_with_a_corner(tmp_path: Path) -> None:
    def digest(folder: str, corners: list[float], name: str = "cat") -> str:
        root = write_images(tmp_path / folder, "1.jpg")
        categories = [{"id": 1, "name": name}, {"id": 7, "name": "dog"}]
        return opened(
            write_coco(root / "a.json", coco([{"segmentation": [corners]}], categories=categories))
        ).names_digest

    one = digest("one", SQUARE)
    assert digest("other", SQUARE) == one
    assert digest("third", [1.5, *SQUARE[1:]]) != one
    assert digest("fourth", SQUARE, "lion") != one


def test_values_may_be_mapped_as_those_of_files_are(root: Path) -> None:
    path = write_coco(root / "a.json", coco([{"segmentation": [SQUARE]}]))
    dataset = opened(path, label_map=((0, 255), (1, 0), (2, 1)), classes=("cat", "dog"))
    assert mask(dataset)[1].tolist() == [255, 0, 0, 0, 255, 255]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"segmentation": [[0, 0, 1, 1]]}, "annotation 1 of image 1 of {} has a polygon of 2 corners"),
        ({"segmentation": [[0, 0, 1, 1, 2]]}, "annotation 1 of {} has a polygon of 5 numbers, an odd count"),
        ({"segmentation": [[0, 0, "a", 1, 2, 2]]}, "annotation 1 of {} has a polygon that is not a list of numbers"),
        ({"segmentation": [[0, 0, True, 1, 2, 2]]}, "is not a list of numbers"),
        (
            {"segmentation": [[0, 0, float("nan"), 1, 2, 2]]},
            "annotation 1 of image 1 of {} has a corner that is not a number",
        ),
        (
            {"segmentation": [[0, 0, 10**400, 1, 2, 2]]},
            "annotation 1 of {} has a polygon with a number beyond any image",
        ),
        (
            {"segmentation": [[0, 0, 1e6, 1, 2, 2]]},
            "annotation 1 of image 1 of {} has a corner at x 1e+06, y 1, far outside",
        ),
        ({"segmentation": [SQUARE * 50]}, "has an outline of"),
        ({"segmentation": "polygon"}, "annotation 1 of {} has a `segmentation` that is neither polygons nor an RLE"),
        (
            {"segmentation": {"size": [4, 6], "counts": [20, 5]}},
            "annotation 1 of {} its counts add up to 25, but there are 24",
        ),
        ({"segmentation": {"size": [4, 6], "counts": [24, -1, 1]}}, "its counts are not whole numbers of at least 0"),
        (
            {"segmentation": {"size": [4, 6], "counts": "~~~~"}},
            "its text holds characters that are not of a compressed RLE",
        ),
        ({"segmentation": {"size": [4, 6], "counts": "ooo"}}, "its text is empty or cut off"),
        ({"segmentation": {"size": [4, 6]}}, "has an RLE without `counts`"),
        ({"segmentation": {"counts": [24]}}, "has an RLE without a `size` [height, width]"),
        (
            {"segmentation": {"size": [6, 4], "counts": [24]}},
            "annotation 1 of {} is an RLE of 4 x 6 pixels; image 1 has 6 x 4",
        ),
        ({"segmentation": {"size": [10**9, 10**9], "counts": [10**18]}}, "is an RLE of 1000000000 x 1000000000 pixels"),
        (
            {"segmentation": [SQUARE], "image_id": 9},
            "annotation 1 of {} is of the image 9, which is not among `images`",
        ),
        ({"segmentation": [SQUARE], "category_id": 9}, "annotation 1 of {} is of the category 9, which is not among"),
        ({"segmentation": [SQUARE], "category_id": None}, "annotation 1 of {} has an id that is neither"),
    ],
)
def test_an_annotation_that_cannot_be_meant_is_named(root: Path, change: dict[str, Any], said: str) -> None:
    path = root / "a.json"
    assert said.format(path) in refusal(path, coco([change]))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]},
            "category 2 of {} has the name `cat` of another one",
        ),
        ({"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]}, "category 1 of {} is there twice"),
        ({"categories": [{"id": 1, "name": 5}]}, "category 1 of {} has a `name` that is not text"),
        (
            {"categories": [{"id": i, "name": f"c{i}"} for i in range(300)]},
            "301 class names, but a mask tells 2 to 255",
        ),
        ({"categories": []}, "{} has no `categories`"),
        ({"images": []}, "{} has no `images`"),
        ({"images": [7]}, "entry 1 of `images` of {} is not an object"),
        ({"images": [{"id": 1, "file_name": "1.jpg"}]}, "image 1 of {} does not say its width and height"),
        ({"images": [{"id": 1, "width": 6, "height": 4}]}, "image 1 of {} has a `file_name` that is not text"),
        (
            {"images": [{"id": 1, "file_name": "1.jpg", "width": 10**6, "height": 10**6}]},
            "image 1 of {} says that it has 1,000,000 x 1,000,000 pixels",
        ),
        (
            {"images": [{"id": 1, "file_name": "1.jpg", "width": 0, "height": 4}]},
            "image 1 of {} says that it has 0 x 4 pixels",
        ),
        ({"images": [{"id": 1, "file_name": "1.jpg", "width": 6, "height": 4}] * 2}, "image 1 of {} is there twice"),
        ({"images": [{"id": i, "file_name": "1.jpg", "width": 6, "height": 4} for i in (1, 2)]}, "1.jpg twice"),
        (
            {"images": [{"id": 1, "file_name": "none.jpg", "width": 6, "height": 4}]},
            "1 of 1 image that {} names are missing",
        ),
    ],
)
def test_what_else_cannot_be_meant_is_named(root: Path, keys: dict[str, Any], said: str) -> None:
    path = root / "a.json"
    assert said.format(path) in refusal(path, coco([{"segmentation": [SQUARE]}], **keys))


def test_a_file_of_boxes_alone_is_refused(root: Path) -> None:
    assert "no annotation of" in refusal(root / "a.json", coco([{"segmentation": []}, {"bbox": [0, 0, 1, 1]}]))


def test_missing_images_are_left_to_the_check_where_bad_ones_are_skipped(root: Path) -> None:
    path = write_coco(root / "a.json", coco([{"segmentation": [SQUARE]}], ("1.jpg", "2.jpg")))
    assert len(open_data("segmentation", Data(on_error="skip"), path, hold_out=False).train) == 2


def test_an_image_of_another_size_than_the_file_says_is_a_bad_one(root: Path) -> None:
    images = [{"id": 1, "file_name": "1.jpg", "width": 5, "height": 4}]
    dataset = opened(write_coco(root / "a.json", coco([{"segmentation": [SQUARE]}], images=images)))
    with pytest.raises(ConvsmithError, match=r"its mask drawn from .*a\.json: it has 5 x 4 pixels, the image 6 x 4"):
        dataset.train.read(0)


@pytest.mark.parametrize(
    "text",
    [
        '{"images": [',
        '{"info": [1,]}',
        '{"images" 1}',
        '{"info": 1} x',
        '{"info": ' + "[" * 100_000,
        '{"images": [{]}',
    ],
)
def test_damaged_json_is_refused(root: Path, text: str) -> None:
    assert f"{root / 'a.json'} is not JSON of annotations" in refusal(root / "a.json", text)


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_file_that_is_cut_off_is_refused(root: Path, cut: int) -> None:
    text = json.dumps(coco([{"segmentation": [SQUARE]}], info={}))
    path = write_coco(root / "a.json", text[: min(cut, len(text) - 1)])
    with pytest.raises(ConvsmithError):
        opened(path)


def test_a_file_in_another_encoding_is_refused(root: Path) -> None:
    (root / "a.json").write_bytes(b'{"images": ["\xff"]}')
    assert "is not UTF-8" in refusal(root / "a.json")


def test_parts_of_other_categories_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "images", "1.jpg", "2.jpg")
    write_coco(tmp_path / "train.json", coco([{"segmentation": [SQUARE]}]))
    other = [{"id": 1, "name": "cat"}, {"id": 7, "name": "emu"}]
    write_coco(tmp_path / "val.json", coco([{"segmentation": [SQUARE]}], ("2.jpg",), categories=other))
    assert "has other categories than" in refusal(tmp_path)


def judged(path: Path, *classes: str) -> tuple[int, bool]:
    samples, is_part = find_opener("segmentation", path).labelled(path, Data(), classes, None)
    return len(samples), is_part


def test_a_model_is_judged_by_the_classes_that_occur(tmp_path: Path) -> None:
    write_images(tmp_path / "images", "1.jpg", "2.jpg")
    write_coco(tmp_path / "train.json", coco([{"segmentation": [SQUARE]}]))
    write_coco(tmp_path / "val.json", coco([{"segmentation": [SQUARE], "category_id": 7}], ("2.jpg",)))
    assert judged(tmp_path, "background", "cat", "dog") == (1, True)
    assert judged(tmp_path / "train.json", "background", "dog", "cat", "emu") == (1, False)
    classes = ("background", "emu", "cat", "dog")
    samples, _ = find_opener("segmentation", tmp_path).labelled(tmp_path, Data(), classes, None)
    assert np.unique(samples.read(0)[1]).tolist() == [0, 3]
    with pytest.raises(ConvsmithError, match="has areas of the class `dog`, which the model lacks"):
        judged(tmp_path, "background", "cat")


def test_masks_in_files_go_before_outlines_beside_them(tmp_path: Path) -> None:
    root = write_folders(tmp_path, "a", "b")
    write_coco(root / "annotations/a.json", coco([{"segmentation": [SQUARE]}], ("a.jpg",)))
    assert not is_known(root)
    (root / "masks").rename(root / "labels")
    assert is_known(root)
    assert opened(root, masks_dir="labels").classes == ("sky", "road", "car")
    assert opened(root).classes == ("background", "cat", "dog")


def test_folders_and_files_of_other_kinds_are_left_to_others(tmp_path: Path) -> None:
    write_files(tmp_path, "cat/1.jpg", "dog/2.jpg", "meta.json", "annotations/a.png")
    (tmp_path / "list.json").write_text("[]")
    assert not is_known(tmp_path)
    assert not is_known(tmp_path / "list.json")


def test_a_published_layout_is_refused(root: Path) -> None:
    assert "data.masks.layout is voc" in refusal(root / "a.json", coco([{"segmentation": [SQUARE]}]), layout="voc")
