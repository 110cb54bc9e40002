from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from convsmith.analyze.check_data import check_data
from convsmith.data.masks import strange_values
from tests.data.masks import mask_png, plain, write_folders

NAMES = ("train/a", "train/b", "train/c", "val/1")


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Three training images and one for validation, whose masks hold 0 and 1: sky and road."""
    root = write_folders(tmp_path, *NAMES, classes="sky\nroad\n")
    for name in NAMES:
        (root / f"masks/{name}.png").write_bytes(mask_png([[0, 0, 0, 1, 1, 1]] * 4))
    return root


def pasted(line: str) -> list[str]:
    """The keys of a line that are ready to paste, as the shell would hand them on."""
    return [f"{key}={value}" for key, value in re.findall(r"(data\.masks\.\w+)='([^']*)'", line)]


def test_a_value_that_is_not_a_class_comes_with_the_label_map_that_leaves_it_out(scenes: Path) -> None:
    (scenes / "masks/train/b.png").write_bytes(plain(7))
    found = check_data(scenes)
    (line,) = found.warnings
    assert line.startswith("1 mask holds the value 7, which is not a class")
    assert pasted(line) == ["data.masks.label_map=[[0, 0], [1, 1], [7, 255]]"]
    assert check_data(scenes, overrides=pasted(line)).usable


def test_it_comes_too_where_all_masks_hold_such_a_value(scenes: Path) -> None:
    for name in NAMES:
        (scenes / f"masks/{name}.png").write_bytes(mask_png([[0, 0, 1, 1, 7, 9]] * 4))
    problem = check_data(scenes).problem
    assert problem is not None
    assert check_data(scenes, overrides=pasted(problem)).usable


def test_a_colour_that_is_not_a_class_comes_with_the_table_that_has_it(scenes: Path) -> None:
    table = ["data.masks.colours=[[0, 0, 0], [255, 0, 0]]"]
    for name in NAMES:
        pixels = np.zeros((4, 6, 3), np.uint8)
        pixels[:, 3:] = (255, 0, 0)
        if name == "train/b":
            pixels[0, 0] = (0, 0, 255)
        (scenes / f"masks/{name}.png").write_bytes(mask_png(pixels))
    (line,) = check_data(scenes, overrides=table).warnings
    assert pasted(line) == ["data.masks.colours=[[0, 0, 0], [255, 0, 0], [0, 0, 255]]"]
    (scenes / "classes.txt").write_text("sky\nroad\ncar\n")
    assert check_data(scenes, overrides=pasted(line)).usable
    (scenes / "classes.txt").write_text("sky\nroad\n")
    assert check_data(scenes, overrides=[*table, "data.masks.others=ignore"]).usable


def test_masks_that_were_smoothed_are_not_listed_value_by_value(scenes: Path) -> None:
    (scenes / "masks/train/b.png").write_bytes(mask_png(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10))
    values = mask_png(np.arange(3, 203, dtype=np.uint8).reshape(10, 20))
    (scenes / "masks/train/c.png").write_bytes(values)
    (line,) = check_data(scenes).warnings
    assert "values or colours that are not a class: were they smoothed" in line


def test_where_not_all_bad_masks_were_looked_at_their_number_is_a_least(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strange_values, "_LOOKED_AT", 2)
    for name in NAMES[:2]:
        (scenes / f"masks/{name}.png").write_bytes(mask_png([[0, 0, 1, 1, 7, 7]] * 4))
    (line,) = check_data(scenes).warnings
    assert line.startswith("at least 2 masks hold the value 7, which is not a class")
