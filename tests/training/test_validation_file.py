from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from convsmith.training.validation_file import FILE, read_validation, write_validation


class Results:
    """Three images in two classes, of which one is wrong."""

    def confusion_matrix(self, num_classes: int) -> np.ndarray:
        return np.array([[2, 0], [1, 0]])

    def by_class(self, num_classes: int) -> dict[str, tuple[float | None, ...]]:
        return {"per_class": (1.0, 0.0)}


def test_the_figures_of_each_class_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_validation(tmp_path, {"top1": 2 / 3}, Results(), 2)  # type: ignore[arg-type]
    found = read_validation(tmp_path, {"top1": 2 / 3}, 2)
    assert found == {"classes": {"per_class": (1.0, 0.0)}, "confusion": [[2, 0], [1, 0]]}


def test_those_of_another_epoch_than_the_bundle_do_not_count(tmp_path: Path) -> None:
    write_validation(tmp_path, {"top1": 2 / 3}, Results(), 2)  # type: ignore[arg-type]
    assert read_validation(tmp_path, {"top1": 0.5}, 2) is None


def test_a_missing_or_damaged_file_is_none(tmp_path: Path) -> None:
    assert read_validation(tmp_path, {}, 2) is None
    (tmp_path / FILE).write_text(json.dumps({"figures": {}, "classes": [], "confusion": [[9, 9, 1]]}))
    assert read_validation(tmp_path, {}, 2) is None


@pytest.mark.parametrize(("classes", "is_kept"), [(2000, True), (2001, False)])
def test_the_pairs_of_very_many_classes_are_not_kept(tmp_path: Path, classes: int, is_kept: bool) -> None:
    write_validation(tmp_path, {}, Results(), classes)  # type: ignore[arg-type]
    assert (tmp_path / FILE).exists() is is_kept
