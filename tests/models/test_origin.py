"""What timm and torchvision say of their weights, against what these libraries do with images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from numpy.random import RandomState
from PIL import Image

import convsmith as cs
from convsmith.bundle.preprocess import read_and_preprocess
from convsmith.models.weights.origin import Origin, bridged_origin, list_bridged_weights, origin_of

TIMM = [
    "resnet18.a1_in1k",
    "vit_base_patch32_clip_224.openai",  # another mean
    "convnext_base.clip_laion2b_augreg_ft_in12k_in1k_384",  # squashed
    "inception_v3.tf_in1k",  # 299 pixels
    "mobilenetv3_small_050.lamb_in1k",
    "tf_efficientnet_b0.ns_jft_in1k",
]
TORCHVISION = ["resnet50.IMAGENET1K_V1", "resnet50.IMAGENET1K_V2", "inception_v3", "vit_b_16.IMAGENET1K_SWAG_E2E_V1"]


def photo() -> Image.Image:
    noise = RandomState(0).randint(0, 256, (45, 60, 3), np.uint8)
    return Image.fromarray(noise).resize((600, 450), Image.Resampling.BICUBIC)


def assert_same_input(origin: Origin, transform: Any) -> None:
    assert origin.preprocessing is not None
    pixels = torch.from_numpy(read_and_preprocess(photo(), origin.preprocessing)) / 255
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (origin.mean, origin.std))
    torch.testing.assert_close((pixels - mean) / std, transform(photo()), atol=1.01 / 255 / min(origin.std), rtol=0)


@pytest.mark.parametrize("name", TIMM)
def test_images_are_prepared_as_timm_prepares_them(name: str) -> None:
    library: Any = timm
    config = library.models.get_pretrained_cfg(name).to_dict()
    transform = library.data.create_transform(**library.data.resolve_data_config(pretrained_cfg=config))
    origin = bridged_origin(f"timm/{name}")
    assert origin.name == f"timm/{name}"
    assert_same_input(origin, transform)


@pytest.mark.parametrize("name", TORCHVISION)
def test_images_are_prepared_as_torchvision_prepares_them(name: str) -> None:
    model, _, tag = name.partition(".")
    weights = torchvision.models.get_model_weights(model)
    assert_same_input(bridged_origin(f"torchvision/{name}"), (weights[tag] if tag else weights.DEFAULT).transforms())


def test_all_weights_of_both_libraries_are_known() -> None:
    names = [*list_bridged_weights("timm/*"), *list_bridged_weights("torchvision/*")]
    assert len(names) > 1500
    assert [bridged_origin(name).name for name in names] == names


@pytest.mark.parametrize(
    ("name", "licence", "restricted"),
    [
        ("timm/vit_small_patch16_dinov3.lvd1689m", "dinov3-license", True),
        ("timm/convnextv2_atto.fcmae", "cc-by-nc-4.0", True),
        ("timm/convnext_tiny.in12k", "apache-2.0", False),
        ("torchvision/vit_b_16.IMAGENET1K_SWAG_E2E_V1", "cc-by-nc-4.0", True),
        ("torchvision/resnet50", "bsd-3-clause", False),
    ],
)
def test_a_licence_that_may_forbid_a_use_is_known(name: str, licence: str, restricted: bool) -> None:
    origin = bridged_origin(name)
    assert (origin.licence, origin.is_restricted) == (licence, restricted)


def test_few_weights_want_what_no_rule_of_ours_is() -> None:
    nearest = [name for name in list_bridged_weights("timm/*") if bridged_origin(name).is_nearest]
    assert 0 < len(nearest) < 0.02 * len(list_bridged_weights("timm/*"))
    assert not any(bridged_origin(f"timm/{name}").is_nearest for name in TIMM)


def test_patterns_are_of_weights_or_models() -> None:
    assert "timm/convnext_tiny.in12k" in list_bridged_weights("timm/convnext_tiny")
    assert {name.partition(".")[0] for name in list_bridged_weights("torchvision/resnet18*")} == {
        "torchvision/resnet18"
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnet18.nobody_in1k", "timm knows no weights `resnet18.nobody_in1k`"),
        ("timm/botnet50ts_256", "timm has no weights of `botnet50ts_256`"),
        ("torchvision/resnet18.IMAGENET1K_V3", "no weights `resnet18.IMAGENET1K_V3`; did you mean `IMAGENET1K_V1`"),
    ],
)
def test_weights_that_are_not_there_are_an_error(name: str, message: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=message):
        bridged_origin(name)


def test_published_weights_keep_what_is_published() -> None:
    origin = origin_of("resnet50.tv_v2", "resnet50")
    assert origin is not None
    assert (origin.preprocessing, origin.licence) == (cs.weights("resnet50.tv_v2").preprocessing, "BSD-3-Clause")


@pytest.mark.parametrize("weights", [None, "mine.pth", "runs/mine"])
def test_nothing_is_known_of_random_weights_and_files(weights: str | None) -> None:
    assert origin_of(weights, "timm/resnet18") is None
