"""What the pages on data show is what happens."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.data.augment.transform import train_transform
from convsmith.recipe.augmentation import Augment
from convsmith.recipe.sampling import Sampling
from convsmith.spec import Preprocess
from tests.data.folders import write_files

DOCS = Path(__file__).parents[2] / "docs"
DATA = (DOCS / "data.md").read_text("utf-8")
BATCHES = (DOCS / "augmentation.md").read_text("utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_files(tmp_path / "photos", "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    (photos / "cat" / "1.png").write_bytes(b"")
    (photos / "cat" / "2.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    *_, example = re.findall(r"```python\n(.*?)```", DATA, re.DOTALL)
    exec(example, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["('cat', 'dog')", "2", "2"]
    assert lines[-1].endswith(".png it is empty")


def test_the_extensions_are_those_that_are_read() -> None:
    (listed,) = re.findall(r"in upper or lower case: `(.*?)`\.", DATA, re.DOTALL)
    assert frozenset(listed.split()) == IMAGE_SUFFIXES


def test_the_example_of_an_augmentation_is_one() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", BATCHES, re.DOTALL)
    augment = Augment.model_validate_json(json.dumps(yaml.safe_load(example)["augment"]))
    image = train_transform(augment, Preprocess(resize=8, crop=8))(np.zeros((30, 40, 3), np.uint8))
    assert image.shape == (3, 224, 224)


def test_every_sampling_in_the_table_is_one() -> None:
    rows = re.findall(r"^\| `(\{name: .*?\})`", BATCHES, re.MULTILINE)
    kinds = [TypeAdapter(Sampling).validate_json(json.dumps(yaml.safe_load(row))).name for row in rows]
    assert kinds == ["plain", "repeated", "balanced", "weighted"]
