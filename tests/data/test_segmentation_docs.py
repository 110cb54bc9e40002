"""What docs/segmentation-data.md shows is what happens."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml

from convsmith.data.masks.mask_data import mask_rules
from convsmith.data.scenes import write_digit_scenes
from convsmith.recipe.mask_data import LayoutName, Masks

PAGE = (Path(__file__).parents[2] / "docs" / "segmentation-data.md").read_text("utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_digit_scenes(tmp_path / "scenes", 3, 2, (32, 40))
    (tmp_path / "scenes" / "images" / "train" / "0001.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(example, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["3", "2"]
    assert lines[3].endswith("images/train/0001.jpg it is empty")
    assert lines[4].startswith("(32, 40, 3) (32, 40) [")


def test_the_example_of_a_section_is_one() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    masks = Masks.model_validate_json(json.dumps(yaml.safe_load(example)["data"]["masks"]))
    assert Masks.model_fields.keys() == masks.model_fields_set
    assert mask_rules(masks, 2).classes_of(np.array([[0, 7, 8, 9, 11, 99]]), "m").tolist() == [[255, 0, 0, 1, 255, 255]]


def test_every_published_layout_is_in_the_table() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert listed == ["layout", *get_args(LayoutName)[1:]]
