"""Batch normalisations that are multiplied into convolutions before a model is exported."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convsmith.deploy.fuse import fuse_batch_norms
from convsmith.models.registry import create_model

MODELS = ["cifar_resnet20", "resnet50", "resnest50", "hrnet_w18", "torchvision/mobilenet_v3_small", "timm/resnet18d"]


def lively(model: nn.Module) -> nn.Module:
    """A model in eval mode whose normalisations all do something, each another thing."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in module.state_dict().values():
                if values.is_floating_point():
                    nn.init.uniform_(values, 0.5, 1.5)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(type(module) is nn.BatchNorm2d for module in model.modules())


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_its_batch_norms_says_the_same(name: str) -> None:
    model, images = lively(create_model(name, num_classes=5)), torch.rand(2, 3, 64, 64)
    fused = copy.deepcopy(model)
    fuse_batch_norms(fused, torch.zeros(1, 3, 64, 64))
    assert norms(fused) < norms(model) / 10
    with torch.inference_mode():
        torch.testing.assert_close(fused(images), model(images), rtol=1e-3, atol=1e-4)


class _Used(nn.Module):
    """A convolution whose output, or which itself, is used another time."""

    def __init__(self, how: Callable[[nn.Module, nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.norm, self.how = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), how

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.how(self.conv, self.norm, images)
        return found


def output_taken_twice(conv: nn.Module, norm: nn.Module, images: Tensor) -> Tensor:
    found: Tensor = conv(images)
    both: Tensor = torch.relu(found) + norm(found)
    return both


def called_twice(conv: nn.Module, norm: nn.Module, images: Tensor) -> Tensor:
    found: Tensor = norm(conv(conv(images)))
    return found


def something_between(conv: nn.Module, norm: nn.Module, images: Tensor) -> Tensor:
    found: Tensor = norm(torch.relu(conv(images)))
    return found


@pytest.mark.parametrize("how", [output_taken_twice, called_twice, something_between])
def test_what_else_uses_a_convolution_sees_it_as_it_was(how: Callable[[nn.Module, nn.Module, Tensor], Tensor]) -> None:
    model = lively(_Used(how))
    fused = copy.deepcopy(model)
    fuse_batch_norms(fused, torch.zeros(1, 3, 4, 4))
    assert norms(fused) == 1


def test_a_batch_norm_with_an_activation_of_its_own_stays() -> None:
    class Activated(nn.BatchNorm2d):
        pass

    model = nn.Sequential(nn.Conv2d(3, 3, 1), Activated(3)).eval()
    fuse_batch_norms(model, torch.zeros(1, 3, 4, 4))
    assert isinstance(model[1], Activated)
