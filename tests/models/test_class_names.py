"""Weights by the names of their classes, not by the number of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from convsmith.models.registry import create_model
from convsmith.models.weights.class_names import classes_of, fit_head_to_classes, rows_of

MODELS = [
    "cifar_resnet20",
    "hrnet_w18_seg",
    "hrnet_w18_ocr",
    "resnet18_upernet",
    "resnet18_fcn",
    "timm/resnet18d",
    "torchvision/lraspp_mobilenet_v3_large",
]


@pytest.mark.parametrize("name", MODELS)
def test_every_head_of_a_model_follows_the_names(name: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"classes": ["sky", "road", "car"]}))
    (tmp_path / "model.safetensors").touch()
    torch.manual_seed(0)
    model = create_model(name, num_classes=3).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        fit_head_to_classes(model, tmp_path / "model.safetensors", ["car", "sky", "road"])
        after = model(images)
    for old, new in zip(*(it if isinstance(it, list) else [it] for it in (before, after)), strict=True):
        torch.testing.assert_close(new, old[:, [2, 0, 1]])


def test_names_that_are_there_twice_are_no_order() -> None:
    assert rows_of(["crane", "ox", "crane"], ["crane", "crane", "ox"]) is None


def test_published_weights_have_the_publishers_names() -> None:
    names = classes_of("cifar_resnet20.akamaster")
    assert names is not None
    assert names[:2] == ("airplane", "automobile")


def test_published_weights_keep_their_head_under_other_names_of_the_same_classes() -> None:
    model = create_model("cifar_resnet20")
    before = model.state_dict()["linear.weight"].clone()
    fit_head_to_classes(model, "cifar_resnet20.akamaster", [f"n0{i}" for i in range(10)])
    assert torch.equal(model.state_dict()["linear.weight"], before)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"classes": null}'])
def test_a_file_beside_a_state_of_something_else_says_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(content)
    assert classes_of(tmp_path / "model.safetensors") is None
