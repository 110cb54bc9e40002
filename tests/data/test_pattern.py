"""Labels and groups in the names of files, by a pattern of the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from convsmith.data.dataset import Samples
from convsmith.data.open_data import open_data
from convsmith.data.parts import Part
from convsmith.data.source import find_opener
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from convsmith.recipe.load import load_recipe
from tests.data.folders import write_files
from tests.data.masks import write_folders

LABEL = r"^(?P<label>[a-z]+)_\d+"
NAMES = ("cat_1.png", "cat_2.png", "sub/dog_1.png", "sub/dog_2.png")


def section(pattern: str, **keys: Any) -> Data:
    return Data.model_validate({"pattern": pattern, "val_fraction": 0.5, **keys})


def opened(root: Path, pattern: str, task: str = "classification", hold: bool = True, **keys: Any) -> Any:
    return open_data(task, section(pattern, **keys), root, hold_out=hold)


def names(samples: Samples, root: Path) -> list[str]:
    return [samples.name(i).removeprefix(f"{root}/") for i in range(len(samples))]


def test_the_label_is_found_in_the_path_of_each_image(tmp_path: Path) -> None:
    data = opened(write_files(tmp_path, *NAMES, "notes.txt"), r"(?P<label>[a-z]+)_\d", hold=False)
    assert data.classes == ("cat", "dog")
    assert list(zip(names(data.train, tmp_path), data.train.targets.tolist(), strict=True)) == [
        *[(name, 0) for name in NAMES[:2]],
        *[(name, 1) for name in NAMES[2:]],
    ]
    assert data.notes == ("left out, not images: 1 .txt",)


def test_a_share_of_each_class_is_held_out(tmp_path: Path) -> None:
    data = opened(write_files(tmp_path, *NAMES), r"(?P<label>[a-z]+)_\d")
    assert (sorted(data.train.targets), sorted(data.val.targets)) == ([0, 1], [0, 1])
    assert "held out 2 of 4 images" in data.notes[0]


@pytest.mark.parametrize("val", ["val", "valid"])
def test_parts_are_folders_whose_names_the_pattern_does_not_see(tmp_path: Path, val: str) -> None:
    images = ("train/cat_1.png", "train/dog_1.png", f"{val}/dog_2.png", "test/cat_9.png")
    data = opened(write_files(tmp_path, *images), LABEL)
    assert (names(data.train, tmp_path), names(data.val, tmp_path)) == ([*images[:2]], [images[2]])
    assert data.notes == (f"left out, beside train in {tmp_path}: `test`",)


@pytest.mark.parametrize(
    ("part", "expected"), [("test", "test/cat_9.png"), ("val", "val/dog_2.png"), (None, "val/dog_2.png")]
)
def test_a_model_is_judged_by_a_part(tmp_path: Path, part: Part | None, expected: str) -> None:
    write_files(tmp_path, "train/cat_1.png", "train/dog_1.png", "val/dog_2.png", "test/cat_9.png")
    samples, is_part = find_opener("classification", tmp_path).labelled(tmp_path, section(LABEL), ["dog", "cat"], part)
    assert (names(samples, tmp_path), is_part) == ([expected], True)
    assert samples.targets.tolist() == [int("cat" in expected)]


def test_images_that_do_not_match_are_named(tmp_path: Path) -> None:
    write_files(tmp_path, *NAMES, "odd.png", "7.png")
    with pytest.raises(
        ConvsmithError, match=r"2 of 6 images .* have no `label` by data\.pattern: `7\.png`, `odd\.png`"
    ):
        opened(tmp_path, r"(?P<label>[a-z]+)_\d")


def test_a_label_that_training_lacks_is_named(tmp_path: Path) -> None:
    write_files(tmp_path, "train/cat_1.png", "train/dog_1.png", "val/cow_1.png")
    with pytest.raises(ConvsmithError, match=r"val/cow_1\.png has the label `cow`, which training lacks"):
        opened(tmp_path, LABEL)


def test_one_class_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"data\.pattern finds one class only in .*: `cat`"):
        opened(write_files(tmp_path, "cat_1.png", "cat_2.png"), LABEL)


def patients(samples: Samples) -> set[str]:
    return {samples.name(i).rpartition("/")[2][:2] for i in range(len(samples))}


def torn(root: Path, images: Sequence[str], pattern: str, task: str = "classification", **keys: Any) -> bool:
    data = opened(root, pattern, task, **keys)
    assert len(data.train) + len(data.val) == len(images)
    return bool(patients(data.train) & patients(data.val))


@pytest.mark.parametrize("keys", [{}, {"folds": 3, "fold": 2}], ids=["share", "fold"])
def test_groups_stay_together(tmp_path: Path, keys: dict[str, Any]) -> None:
    flat = [f"p{i // 3}_{('cat', 'dog')[i % 2]}_{i}.png" for i in range(18)]
    write_files(tmp_path / "flat", *flat)
    assert not torn(tmp_path / "flat", flat, r"^(?P<group>p\d)_(?P<label>[a-z]+)", **keys)
    assert torn(tmp_path / "flat", flat, r"^p\d_(?P<label>[a-z]+)", **keys)
    classes = [f"{('cat', 'dog')[i % 2]}/p{i // 3}_{i}.png" for i in range(18)]
    write_files(tmp_path / "classes", *classes)
    assert not torn(tmp_path / "classes", classes, r"(?P<group>p\d)_", **keys)
    write_folders(tmp_path / "masks", *[f"p{i // 3}_{i}" for i in range(18)])
    assert not torn(tmp_path / "masks", flat, r"(?P<group>p\d)_", "segmentation", **keys)


def test_the_note_says_how_many_groups_were_held_out(tmp_path: Path) -> None:
    write_files(tmp_path, *[f"{label}/p{i // 2}_{i}.png" for label in ("cat", "dog") for i in range(8)])
    assert "held out 8 of 16 images, 2 whole groups, for validation" in opened(tmp_path, r"(?P<group>p\d)_").notes[0]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is not a regular expression"),
        ("[a-z]+", "must name what it finds"),
        ("(?P<name>[a-z]+)", "must name what it finds"),
        ("(?P<label>[a-z]+)(?P<fold>.)", "must name what it finds"),
    ],
)
def test_a_pattern_that_finds_nothing_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ConvsmithError, match=message):
        load_recipe("digits", [f"data.pattern='{pattern}'"])


def test_labels_of_images_with_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="images with masks have none"):
        opened(write_folders(tmp_path, "a_1", "b_1"), LABEL, "segmentation")


def test_a_pattern_says_nothing_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,label\n")
    with pytest.raises(ConvsmithError, match=r"data\.pattern says nothing of"):
        opened(tmp_path / "t.csv", LABEL)
