"""What masks hold, in errors whose keys can be pasted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.data.checks.check import check_files
from convsmith.data.masks.mask_data import MaskData
from convsmith.data.open_data import data_of_recipe
from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from tests.data.masks import mask_png, write_folders

SEGMENTATION = "hrnet_w18_seg-folder"
COLOURS = [(0, 0, 0), (0, 128, 64), (255, 255, 255)]


def open_with(root: Path, *overrides: str) -> MaskData:
    folder = data_of_recipe(load_recipe(SEGMENTATION, overrides), root)
    assert isinstance(folder, MaskData)
    return folder


def refusal(root: Path, *overrides: str) -> ConvsmithError:
    with pytest.raises(ConvsmithError) as caught:
        open_with(root, *overrides)
    return caught.value


def pasted(error: ConvsmithError) -> list[str]:
    """The `key='value'` words of an error's fix, as a shell passes them on."""
    return [f"{key}={value}" for key, value in re.findall(r"(data\.masks\.\w+)='(.+?)'", error.fix)]


def with_masks(root: Path, masks: NDArray[Any], classes: str = "sky\nroad\ncar\n") -> Path:
    """A folder whose masks `[N, 4, 6]` or `[N, 4, 6, 3]` are these, all for training but the last one."""
    names = [*(f"train/{i}" for i in range(len(masks) - 1)), "val/v"]
    write_folders(root, *names, classes=classes)
    for name, mask in zip(names, masks, strict=True):
        (root / f"masks/{name}.png").write_bytes(mask_png(mask))
    return root


def values(*rows: int) -> NDArray[np.uint8]:
    """Two masks, each with all of these values."""
    return np.resize(np.array(rows, np.uint8), (2, 4, 6))


def coloured(indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.array(COLOURS, np.uint8)[indices]


def found_classes(folder: MaskData) -> list[int]:
    assert not check_files(folder.train)
    return sorted(set(np.unique(folder.train.read(0)[1]).tolist()))


# RGB masks


def test_the_colours_of_rgb_masks_can_be_pasted(tmp_path: Path) -> None:
    masks = coloured(np.arange(3, dtype=np.uint8).repeat(24).reshape(3, 4, 6))  # one colour in each mask
    error = refusal(with_masks(tmp_path, np.concatenate([masks, masks[:1]])))
    assert "is an RGB picture" in error.what
    assert pasted(error) == ["data.masks.colours=[[0, 0, 0], [0, 128, 64], [255, 255, 255]]"]
    assert found_classes(open_with(tmp_path, *pasted(error))) == [0]


def test_the_colours_are_told_together_with_missing_names_of_classes(tmp_path: Path) -> None:
    with_masks(tmp_path, coloured(values(0, 1, 2))).joinpath("classes.txt").unlink()
    error = refusal(tmp_path)
    assert error.what.startswith("what are the classes")
    assert found_classes(open_with(tmp_path, *pasted(error), "data.masks.classes=[a, b, c]")) == [0, 1, 2]


def test_more_colours_than_a_mask_has_classes_are_called_smoothed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 30, 30, 3), dtype=np.uint8)
    error = refusal(with_masks(tmp_path, noise))
    assert "900 colours, too many to be classes" in error.fix
    assert not pasted(error)


def test_masks_that_are_not_opaque_are_not_told_to_set_colours(tmp_path: Path) -> None:
    with_masks(tmp_path, np.full((2, 4, 6, 4), 128, np.uint8))
    (bad, *_) = check_files(open_with(tmp_path).train)
    assert "transparent" in bad.reason


def test_a_layout_that_has_no_colours_is_not_told_to_set_them(tmp_path: Path) -> None:
    error = refusal(with_masks(tmp_path, coloured(values(0, 1))), "data.masks.layout=camvid")
    assert "layout `camvid` are grey" in error.fix


def test_a_single_rgb_mask_among_grey_ones_tells_its_colours(tmp_path: Path) -> None:
    with_masks(tmp_path, np.concatenate([values(0, 1), values(0, 1)]))
    (tmp_path / "masks/train/1.png").write_bytes(mask_png(coloured(values(1, 2)[0])))
    (bad,) = check_files(open_with(tmp_path).train)
    assert "It holds [0, 128, 64], [255, 255, 255]: set data.masks.colours" in bad.fix


def test_the_fix_of_a_bad_mask_comes_through(tmp_path: Path) -> None:
    (bad,) = check_files(open_with(with_masks(tmp_path, values(0, 9))).train)
    assert "it holds the value 9, not only 0 to 2 and 255" in bad.reason
    assert "set data.masks.label_map" in bad.fix


# A class that is to be ignored


def test_an_ignored_value_beside_all_classes_is_told_with_the_label_map(tmp_path: Path) -> None:
    """The names are those of the values 1 to 3."""
    error = refusal(with_masks(tmp_path, values(0, 1, 2, 3)), "data.masks.ignore_index=0")
    assert "data.masks.ignore_index=0 does nothing" in error.what
    assert pasted(error) == ["data.masks.label_map=[[0, 255], [1, 0], [2, 1], [3, 2]]"]
    assert found_classes(open_with(tmp_path, *pasted(error))) == [0, 1, 2, 255]


def test_an_ignored_class_is_told_with_the_label_map_of_the_others(tmp_path: Path) -> None:
    error = refusal(with_masks(tmp_path, values(0, 1, 2)), "data.masks.ignore_index=1")
    assert "take its name away" in error.fix
    assert pasted(error) == ["data.masks.label_map=[[1, 255], [0, 0], [2, 1]]"]
    assert found_classes(open_with(tmp_path, *pasted(error), "data.masks.classes=[sky, car]")) == [0, 1, 255]


def test_an_ignored_value_that_the_label_map_names_is_refused(tmp_path: Path) -> None:
    label_map = "data.masks.label_map=[[0, 0], [7, 1], [8, 2]]"
    error = refusal(with_masks(tmp_path, values(0, 7, 8)), label_map, "data.masks.ignore_index=7")
    assert "label_map says that the value 7 is class 1" in error.why
    assert found_classes(open_with(tmp_path, *pasted(error))) == [0, 2, 255]


def test_an_ignored_value_of_a_published_layout_is_refused(tmp_path: Path) -> None:
    error = refusal(with_masks(tmp_path, values(1)), "data.masks.layout=ade20k", "data.masks.ignore_index=1")
    assert (error.why, error.fix) == ("in the layout `ade20k` the value 1 is class 0", "Leave it out.")


@pytest.mark.parametrize("keys", [(), ("data.masks.ignore_index=3",), ("data.masks.ignore_index=255",)])
def test_an_ignored_value_that_is_no_class_is_fine(tmp_path: Path, keys: tuple[str, ...]) -> None:
    assert found_classes(open_with(with_masks(tmp_path, values(0, 1)), *keys)) == [0, 1]
