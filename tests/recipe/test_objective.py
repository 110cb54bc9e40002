from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convsmith.recipe.load import load_recipe
from tests.recipe.examples import MASKS, WHOLE, error_of, example, write


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("cross_entropy", {"label_smoothing": 0}),
        ("focal", {"label_smoothing": 0, "positive_weights": None, "gamma": 2}),
        ("ohem", {"threshold": 0.9, "min_kept": 131072}),
        ("dice", {"cross_entropy": 1}),
        ("lovasz", {"cross_entropy": 1}),
    ],
)
def test_a_loss_of_pixels_has_weights_of_classes_and_outputs_and_its_own_keys(
    tmp_path: Path, name: str, own: dict[str, Any]
) -> None:
    loss = load_recipe(write(tmp_path, masks=MASKS), [f"loss.name={name}"]).loss
    shared = {"name": name, "class_weights": None, "output_weights": None, "align_corners": None}
    assert loss.model_dump() == shared | own


def test_ocrs_outputs_are_lists(tmp_path: Path) -> None:
    overrides = ["loss.output_weights=[0.4, 1]", "loss.align_corners=[true, false]"]
    loss: Any = load_recipe(write(tmp_path, masks=MASKS), overrides).loss
    assert (loss.output_weights, loss.align_corners) == ((0.4, 1.0), (True, False))


@pytest.mark.parametrize(
    ("name", "kept"),
    [("focal", {"output_weights", "label_smoothing"}), ("ohem", {"output_weights"}), ("dice", {"output_weights"})],
)
def test_another_loss_of_pixels_keeps_what_means_the_same(tmp_path: Path, name: str, kept: set[str]) -> None:
    given = {"output_weights": (0.5, 1.0), "label_smoothing": 0.1}
    base = write(tmp_path, masks=MASKS + "loss: {output_weights: [0.5, 1], label_smoothing: 0.1}\n")
    loss = load_recipe(base, [f"loss.name={name}"]).loss.model_dump()
    assert {key for key, value in given.items() if loss.get(key) == value} == kept


def test_class_weights_without_cross_entropy_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, masks=MASKS)
    overrides = ["loss.name=dice", "loss.cross_entropy=0", "loss.class_weights=inverse"]
    assert "class_weights weigh the cross-entropy, but cross_entropy is 0" in error_of(path, overrides)


ONE_SOURCE = "a teacher is exactly one of bundle and model"


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("{}", ONE_SOURCE),
        ("{bundle: b, model: resnet18, weights: w.pth}", ONE_SOURCE),
        ("{model: resnet18}", "a teacher must have learned something: set weights"),
        ("{bundle: b, weights: w.pth}", "a bundle has its own weights and options"),
        ("{bundle: b, options: {width: 2}}", "a bundle has its own weights and options"),
        ("{model: resnet18, weights: w.pth, options: {num_classes: 3}}", "num_classes is not an option of a teacher"),
    ],
)
def test_a_teacher_is_a_bundle_alone_or_a_model_with_weights(tmp_path: Path, teacher: str, message: str) -> None:
    assert message in error_of(write(tmp_path, whole=WHOLE), [f"distillation={{teacher: {teacher}}}"])


@pytest.mark.parametrize("teacher", ["{bundle: b}", "{model: resnet18, weights: w.pth, options: {width: 2}}"])
def test_a_bundle_teaches_and_so_does_a_model_with_weights_and_options(tmp_path: Path, teacher: str) -> None:
    assert example(tmp_path, f"distillation={{teacher: {teacher}}}").distillation is not None
