"""A whole recipe for each task, as short as one can be, and a helper that writes recipe files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe

WHOLE = """\
description: an example
source: the tests
model:
  name: cifar_resnet20
augment:
  random_crop: {size: 32}
preprocess: {resize: 32, crop: 32}
batch:
  size: 128
optimizer:
  name: sgd
  lr: 0.1
schedule:
  epochs: 10
"""

MASKS = (
    WHOLE.replace("name: cifar_resnet20", "name: resnet18_upernet")
    .replace("preprocess: {resize: 32, crop: 32}", "preprocess: {method: whole}")
    .replace("schedule:\n", "schedule:\n  name: poly\n")
    + "task: segmentation\n"
)
"""The same for segmentation."""


def write(folder: Path, **texts: str) -> Path:
    """Write NAME.yaml for each keyword; the path of the last."""
    for name, text in texts.items():
        path = folder / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
    return path


def example(folder: Path, *overrides: str) -> Recipe:
    """WHOLE with overrides."""
    return load_recipe(write(folder, whole=WHOLE), overrides)


def error_of(source: str | Path, overrides: Sequence[str] = ()) -> str:
    """The text of the error that loading gives."""
    with pytest.raises(ConvsmithError) as caught:
        load_recipe(source, overrides)
    return str(caught.value)
