"""Files of torchvision's and timm's models, in our models, give what they give there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models

from convsmith.models.registry import create_model
from convsmith.models.weights.load import load_weights

# Name there, our name, our options. The quick ones have each layout and each kind of block once.
TORCHVISION_QUICK = [("resnet18", "resnet18"), ("convnext_tiny", "convnext_tiny"), ("mobilenet_v2", "mobilenet_v2")]
TORCHVISION_SLOW = [
    (name, name)
    for name in [
        "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
        "wide_resnet50_2", "wide_resnet101_2", "convnext_small", "convnext_base", "convnext_large",
    ]
]  # fmt: skip
TIMM_QUICK: list[tuple[str, str, dict[str, Any]]] = [
    ("convnext_tiny", "convnext_tiny", {}),
    ("mobilenetv2_100", "mobilenet_v2", {}),
    ("resnest50d_1s4x24d", "resnest50_fast_1s4x24d", {}),
    ("seresnet50", "resnet50", {"se": True}),
    ("hrnet_w18", "hrnet_w18", {}),
]
TIMM_SLOW: list[tuple[str, str, dict[str, Any]]] = [
    *((name, name, {}) for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")),
    *((name, name, {}) for name in ("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2")),
    *((f"convnext_{size}", f"convnext_{size}", {}) for size in ("small", "base", "large", "xlarge")),
    ("resnest50d", "resnest50", {}),
    ("resnest101e", "resnest101", {}),
    ("resnest200e", "resnest200", {}),
    ("resnest269e", "resnest269", {}),
    ("resnest50d_4s2x40d", "resnest50_fast_4s2x40d", {}),
    *((f"hrnet_w{width}", f"hrnet_w{width}", {}) for width in (30, 32, 40, 44, 48, 64)),
    ("hrnet_w18_small", "hrnet_w18_small_v1", {}),
    ("hrnet_w18_small_v2", "hrnet_w18_small_v2", {}),
    ("seresnet101", "resnet101", {"se": True}),
]


def slow(rows: list[Any]) -> list[Any]:
    return [pytest.param(*row, marks=pytest.mark.slow) for row in rows]


def filled(build: Callable[[], nn.Module]) -> nn.Module:
    """A model in which no value is left at 0 or 1, where a mistaken name would not show."""
    with torch.device("meta"):
        model = build()
    model = model.to_empty(device="cpu").eval()
    torch.manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.zero_()
        elif name.endswith((".bn3.weight", "gamma", "layer_scale")):  # small, or errors grow from block to block
            tensor.uniform_(0.1, 0.3)
        elif name.endswith("running_var") or (name.endswith(".weight") and tensor.ndim == 1):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1:
            tensor.normal_(std=0.1)
        else:
            tensor.normal_(std=tensor[0].numel() ** -0.5)
    return model


@torch.inference_mode()
def assert_equal_outputs(theirs: nn.Module, file: Path, our_name: str, options: dict[str, Any]) -> None:
    torch.save(theirs.state_dict(), file)
    with torch.device("meta"):
        ours = create_model(our_name, **options)
    ours = ours.to_empty(device="cpu").eval()
    report = load_weights(ours, file)
    assert (report.missing, report.unexpected, report.dropped) == ((), (), ())
    images = torch.randn(2, 3, 64, 96)
    expected: Tensor = theirs(images)
    scale = expected.std()
    assert scale > 0
    torch.testing.assert_close(ours(images) / scale, expected / scale, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("name", "our_name"), [*TORCHVISION_QUICK, *slow(TORCHVISION_SLOW)])
def test_torchvisions_files_give_torchvisions_logits(name: str, our_name: str, tmp_path: Path) -> None:
    theirs = filled(lambda: torchvision_models.get_model(name))
    assert_equal_outputs(theirs, tmp_path / "theirs.pth", our_name, {})


@pytest.mark.parametrize(("name", "our_name", "options"), [*TIMM_QUICK, *slow(TIMM_SLOW)])
def test_timms_files_give_timms_logits(name: str, our_name: str, options: dict[str, Any], tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    theirs = filled(lambda: timm.create_model(name))
    assert_equal_outputs(theirs, tmp_path / "theirs.pth", our_name, options)


def test_every_torchvision_model_of_our_families_is_proved() -> None:
    families = ("resnet", "resnext", "wide_resnet", "convnext", "mobilenet_v2")
    theirs = {name for name in torchvision_models.list_models(module=torchvision_models) if name.startswith(families)}
    # The one that we do not have: see docs/models.md.
    assert theirs - {name for name, _ in (*TORCHVISION_QUICK, *TORCHVISION_SLOW)} == {"resnext101_64x4d"}
