"""Every model, with weights that let an error show, for the tests of what all of them offer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor

from convsmith.models.base import StagedClassifier, VisionModel
from convsmith.models.decoder import Decoded
from convsmith.models.families.convnext import ConvNeXt, IsotropicConvNeXt
from convsmith.models.families.fcn import FCN
from convsmith.models.families.hrnet_seg import HRNetOCR
from convsmith.models.families.resnest import ResNeSt
from convsmith.models.families.resnet import BasicBlock, Bottleneck, ResNet
from convsmith.models.families.upernet import UPerNet
from convsmith.models.layers import DropBlock, DropPath
from convsmith.models.registry import create_model, list_models
from tests.models.golden import filled

# A name, or a name and an option that adds layers to it.
ALL = sorted({*list_models(), "resnet50 se"})
SMALLEST = {
    "cifar_resnet20",
    "resnet18",
    "resnest50_fast_1s1x64d",
    "convnext_tiny",
    "convnext_isotropic_small",
    "hrnet_w18",
    "hrnet_w18_ocr",
    "mobilenet_v2",
    "resnet18_fcn",
    "resnest50_upernet",
    "convnext_tiny_upernet",
    "hrnet_w18_small_v1_fcn",
    "mobilenet_v2_upernet",
}
DECODED = {name for name in list_models() if name.endswith(("_upernet", "_fcn"))}


def small_upernet(family: type[StagedClassifier], *shape: tuple[int, ...]) -> Callable[..., VisionModel]:
    return partial(Decoded(UPerNet, partial(family, *shape), family), channels=16)


# Few and narrow blocks of each kind, for what has to be computed.
SMALL: dict[str, Callable[..., VisionModel]] = {
    "small-convnext": partial(ConvNeXt, (1, 1, 2, 1), (8, 16, 24, 32)),
    "small-isotropic": partial(IsotropicConvNeXt, 12, 64),
    "small-hrnet": partial(HRNetOCR, 12),
    "small-resnest": partial(ResNeSt, (1, 1, 1, 1), bottleneck_width=16, avd_first=True),
    "small-resnet": partial(ResNet, Bottleneck, (1, 1, 1, 1), width_per_group=16),
    "small-fcn": Decoded(FCN, partial(ResNet, BasicBlock, (1, 1, 1, 1)), ResNet),
    "small-convnext-upernet": small_upernet(ConvNeXt, (1, 1, 2, 1), (8, 16, 24, 32)),
    "small-resnest-upernet": small_upernet(ResNeSt, (1, 1, 1, 1)),
}


def others_are_slow(quick: set[str]) -> pytest.MarkDecorator:
    names = [name for name in (*SMALL, *ALL) if name in quick or name in ALL]
    marks = {name: [] if name in quick else [pytest.mark.slow] for name in names}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks[name]) for name in names])


smallest_models = others_are_slow(SMALLEST)
# HRNet's many shapes of convolutions take torch long to prepare; the golden numbers and test_hrnet run it quickly.
computed_models = others_are_slow({"cifar_resnet20", "mobilenet_v2", *SMALL} - {"small-hrnet"})
traced_models = others_are_slow({"cifar_resnet20"})  # the other families have tests with fewer blocks


def build(name: str, **options: Any) -> VisionModel:
    name, _, option = name.partition(" ")
    if name in SMALL:
        return SMALL[name](**options)
    return create_model(name, **(options | ({option: True} if option else {})))


def without_memory(name: str, **options: Any) -> VisionModel:
    with torch.device("meta"):
        return build(name, **options).eval()


def live(name: str, **options: Any) -> VisionModel:
    """The model as `filled` makes it, for five classes."""
    return filled(lambda: build(name, num_classes=5, **options))


@cache
def shared(name: str) -> VisionModel:
    """For tests that change nothing."""
    with torch.inference_mode(False):  # else the first test to ask would decide what the others can do with it
        return live(name)


def images(count: int = 2, height: int = 64, width: int = 64) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def maps(output: Tensor | list[Tensor]) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else output


def assert_same(output: Tensor | list[Tensor], expected: Tensor | list[Tensor]) -> None:
    for a, b in zip(maps(output), maps(expected), strict=True):
        assert b.std() > 0.01
        torch.testing.assert_close(a, b, atol=2e-4, rtol=2e-4)


def lively_training(name: str) -> VisionModel:
    """With every layer at work that draws random numbers in training."""
    model = live(name).train()
    for module in model.modules():
        if isinstance(module, DropPath | DropBlock):
            module.drop_prob = 0.2
    return model
