from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convsmith.analyze.heat.feature_maps import as_map
from convsmith.analyze.heat.grad_cam import CamMethod, grad_cam
from convsmith.errors import ConvsmithError
from convsmith.models.base import ImageClassifier, SegmentationModel, VisionModel
from convsmith.models.registry import create_model
from tests.conftest import REPOSITORY
from tests.models.every import SMALL, live

GOLDEN = REPOSITORY / "tests/goldens/grad_cam.json"  # of grad-cam 1.5.7
METHODS: tuple[CamMethod, ...] = ("grad-cam", "layer-cam")
BRIDGED = (
    "timm/resnet10t", "timm/vit_tiny_patch16_224", "torchvision/mobilenet_v3_small",
    "torchvision/lraspp_mobilenet_v3_large",
)  # fmt: skip
SLOW = ("timm/swin_tiny_patch4_window7_224", "timm/efficientnet_b0", "torchvision/vgg11", "torchvision/fcn_resnet50",
        "torchvision/inception_v3", "timm/deit_tiny_distilled_patch16_224", "torchvision/swin_t")  # fmt: skip


def noise(side: int, count: int = 1) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def model_named(name: str) -> VisionModel:
    torch.manual_seed(0)
    model = create_model(name, num_classes=5) if "/" in name else live(name)
    return model.eval()


class Spot(ImageClassifier):
    """Counts red, green and blue where they are: its last maps are the colours."""

    heads = ("head",)

    def __init__(self, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.pooled = pooled
        self.head = nn.Linear(3, 3)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.head.weight.copy_(torch.eye(3))

    def block_prefixes(self) -> list[tuple[str, ...]]:
        return [("conv.",)]

    def forward_features(self, x: Tensor) -> Tensor:
        features: Tensor = self.pool(self.conv(self.pool(x) if self.pooled else x)).flatten(1)
        return features


@pytest.mark.parametrize("method", METHODS)
def test_the_heat_of_a_class_is_where_it_is_in_the_image(method: CamMethod) -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[0, 0, :3, :3] = 1.0
    image[0, 2, 5:, 5:] = 1.0
    red, blue = (grad_cam(Spot().eval(), image, [it], method)[0] for it in (0, 2))
    np.testing.assert_allclose(red, image[0, 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(blue, image[0, 2].numpy(), atol=1e-6)


def test_each_image_of_a_batch_has_its_own_class() -> None:
    images = noise(16, count=3)
    model = live("cifar_resnet20")
    together = grad_cam(model, images, [0, 1, 2])
    alone = [grad_cam(model, image[None], [i])[0] for i, image in enumerate(images)]
    np.testing.assert_allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["cifar_resnet20", *SMALL, *BRIDGED, *(pytest.param(it, marks=pytest.mark.slow) for it in SLOW)],
)
@pytest.mark.parametrize("method", METHODS)
def test_every_family_has_heat(name: str, method: CamMethod) -> None:
    side = 299 if "inception" in name else 224 if "vit" in name or "swin" in name or "deit" in name else 64
    heat = grad_cam(model_named(name), noise(side).repeat(5, 1, 1, 1), range(5), method)
    assert heat.shape == (5, side, side)
    assert heat.dtype == np.float32
    assert heat.min() == 0
    assert heat.max() == pytest.approx(1, abs=1e-3)  # where nothing speaks for a class, its heat is 0


def test_a_class_of_a_mask_is_that_of_the_pixels_where_it_is_predicted() -> None:
    model = live("small-fcn")
    assert isinstance(model, SegmentationModel)
    image = noise(64)
    with torch.no_grad():
        class_id = int(model.segment(image).argmax(1).flatten().mode().values)
    seen: dict[str, Tensor] = {}
    stage = model.get_submodule("backbone.layer4")
    stage.register_forward_hook(lambda _m, _i, output: seen.update(maps=output))
    logits = model.segment(image)
    score = logits[0, class_id][logits[0].argmax(0) == class_id].sum()
    (gradient,) = torch.autograd.grad(score, seen["maps"])
    expected = (gradient.mean((2, 3), keepdim=True) * seen["maps"]).sum(1).relu().detach()
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    larger = nn.functional.interpolate(expected[:, None], (64, 64), mode="bilinear")[0, 0]
    larger = (larger - larger.min()) / (larger.max() - larger.min())
    np.testing.assert_allclose(grad_cam(model, image, [class_id])[0], larger.numpy(), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_heat_is_that_of_the_package_grad_cam_as_it_was_noted(method: CamMethod) -> None:
    golden: dict[str, Any] = json.loads(GOLDEN.read_text())
    heat = grad_cam(live("cifar_resnet20"), noise(32), [2], method)[0]
    np.testing.assert_allclose(heat[::4, ::4], golden[method], atol=2e-5)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("cifar_resnet20", "layer3"),
        ("small-resnet", "layer4"),
        ("small-resnest", "layer4"),
        ("small-convnext", "stages.3"),
        ("timm/resnet10t", "model.layer4"),
        ("torchvision/mobilenet_v3_small", "model.features"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_heat_equals_that_of_the_package_grad_cam(name: str, layer: str, method: CamMethod) -> None:
    package = pytest.importorskip("pytorch_grad_cam")
    target = importlib.import_module("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget(1)
    model, image = model_named(name), noise(64)
    kind = package.GradCAM if method == "grad-cam" else package.LayerCAM
    theirs = kind(model, [model.get_submodule(layer)])(image, [target])
    assert theirs.max() > 0.9
    np.testing.assert_allclose(grad_cam(model, image, [1], method), theirs, atol=1e-5)


def test_the_place_of_a_class_token_is_left_out() -> None:
    tokens = torch.arange(1 + 12).float().view(1, 13, 1)
    found = as_map(tokens, (48, 64), 1, prefix=1)
    assert found is not None
    assert found[0, 0].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]


def test_maps_whose_channels_come_last_are_turned() -> None:
    found = as_map(torch.zeros(2, 3, 4, 96), (48, 64), 2)
    assert found is not None
    assert found.shape == (2, 96, 3, 4)


@pytest.mark.parametrize("shape", [(2, 6, 13, 64), (2, 512, 1, 1), (2, 40), (8, 49, 96), (2, 3, 49, 49)])
def test_what_has_no_place_for_each_part_of_the_image_is_not_a_map(shape: tuple[int, ...]) -> None:
    assert as_map(torch.zeros(shape), (48, 64), 2) is None


def test_a_model_without_maps_is_refused_with_what_does_instead() -> None:
    with pytest.raises(ConvsmithError, match="keeps no map of the image") as caught:
        grad_cam(Spot(pooled=True).eval(), noise(8), [0])
    assert "occlusion" in caught.value.fix
