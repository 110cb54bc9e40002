from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from convsmith.recipe.mask_data import Masks


def masks(**keys: Any) -> Masks:
    return Masks.model_validate_json(json.dumps(keys))


def refusal(**keys: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        masks(**keys)
    return str(caught.value)


def test_nothing_said_means_folders_of_train_and_val() -> None:
    section = masks()
    assert (section.layout, section.train, section.val, section.extra) == ("folders", "train", "val", None)
    assert (section.ignore_index, section.others) == (255, "error")


def test_an_unknown_layout_is_refused() -> None:
    assert "'cityscapes'" in refusal(layout="city")


@pytest.mark.parametrize("key", ["train", "val", "extra"])
@pytest.mark.parametrize("parts", ["", " ", "train+", "+val", "a++b"])
def test_a_part_without_a_name_is_refused(key: str, parts: str) -> None:
    assert "does not name a part" in refusal(**{key: parts})


def test_parts_can_be_joined() -> None:
    assert masks(extra="train+val").extra == "train+val"


@pytest.mark.parametrize("key", ["images", "masks"])
@pytest.mark.parametrize(
    "pattern", ["", "img/PART/a.png", "img/PART/*_*", "im*/PART/*", "../*", "img/./*", "img//*", "/img/*"]
)
def test_a_pattern_has_one_star_in_the_name_of_files_below_the_data_folder(key: str, pattern: str) -> None:
    assert "is not a pattern of files in the data folder" in refusal(**{key: pattern})


@pytest.mark.parametrize(("key", "value"), [("classes", ["a", "b"]), ("colours", [[0, 0, 0]]), ("label_map", [[0, 0]])])
def test_a_published_layout_brings_its_own_labels(key: str, value: Any) -> None:
    message = refusal(layout="voc", **{key: value})
    assert f"{key} does nothing where layout is voc" in message
    assert "set it to null" in message


def test_defaults_written_out_pass_with_a_published_layout() -> None:
    masks(layout="voc", classes=None, colours=None, label_map=None)


@pytest.mark.parametrize("count", [0, 1, 256])
def test_a_number_of_classes_that_no_mask_holds_is_refused(count: int) -> None:
    assert f"{count} class names, but a mask tells 2 to 255" in refusal(classes=[f"c{i}" for i in range(count)])


def test_255_classes_fit() -> None:
    assert len(masks(classes=[f"c{i}" for i in range(255)]).classes or ()) == 255


@pytest.mark.parametrize(("names", "problem"), [(["a", " "], "is empty"), (["a", "b", "a"], "`a` stands twice")])
def test_names_of_classes_are_all_different(names: list[str], problem: str) -> None:
    assert problem in refusal(classes=names)


def test_a_value_cannot_be_two_classes() -> None:
    assert "the value 3 stands twice" in refusal(label_map=[[3, 0], [4, 1], [3, 1]])


def test_two_values_can_be_one_class() -> None:
    masks(classes=["a", "b"], label_map=[[3, 0], [4, 0], [5, 1], [6, 255]])


def test_a_class_above_the_names_is_refused() -> None:
    assert "the value 9 is class 2, but the 2 classes are 0 to 1" in refusal(classes=["a", "b"], label_map=[[9, 2]])


@pytest.mark.parametrize("pair", [[65536, 0], [-1, 0], [0, 256], [0]])
def test_pairs_of_the_label_map_are_in_range(pair: list[int]) -> None:
    assert "label_map" in refusal(label_map=[pair])


def test_a_colour_cannot_be_two_values() -> None:
    assert "the colour [1, 2, 3] stands twice" in refusal(colours=[[1, 2, 3], [0, 0, 0], [1, 2, 3]])


def test_a_class_without_a_colour_is_refused() -> None:
    assert "none for the class 1" in refusal(classes=["a", "b"], colours=[[0, 0, 0]])


def test_colours_are_listed_by_the_values_of_the_label_map() -> None:
    colours = [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
    masks(classes=["a", "b"], colours=colours, label_map=[[0, 255], [1, 1], [2, 0]])
    assert "none for the class 1" in refusal(classes=["a", "b"], colours=colours, label_map=[[0, 0], [3, 1]])


def test_more_colours_than_classes_are_values_that_do_not_count() -> None:
    masks(classes=["a", "b"], colours=[[0, 0, 0], [1, 1, 1], [2, 2, 2]], ignore_index=2)
