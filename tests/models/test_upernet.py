from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from convsmith.models.base import SegmentationModel
from convsmith.models.decoder import DecodeHead, StagedSegmentation
from convsmith.models.layers import AdaptiveAverage
from convsmith.models.registry import create_model
from tests.models.every import build

SIDES = st.integers(1, 40)


# The table of semantic_segmentation/README.md of the official code; its FLOPs are multiply-adds without the auxiliary
# head, which only training needs.
@pytest.mark.parametrize(
    ("name", "size", "params_m", "gmacs"),
    [
        ("convnext_tiny_upernet", (512, 2048), 60, 939),
        ("convnext_small_upernet", (512, 2048), 82, 1027),
        ("convnext_base_upernet", (640, 2560), 122, 1828),
        ("convnext_large_upernet", (640, 2560), 235, 2458),
        ("convnext_xlarge_upernet", (640, 2560), 391, 3335),
    ],
)
def test_every_variant_has_the_published_size(name: str, size: tuple[int, int], params_m: int, gmacs: float) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.inference_mode():
        model = create_model(name).eval()
        model.forward_features(torch.empty(1, 3, *size))
    classes = 150 * 512 * (size[0] // 4) * (size[1] // 4) / 1e9
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(params_m, abs=0.5)
    assert counter.get_total_flops() / 2e9 + classes == pytest.approx(gmacs, rel=0.001)


@given(bins=st.integers(1, 7), height=SIDES, width=SIDES)
def test_an_exported_adaptive_average_is_that_of_torch(bins: int, height: int, width: int) -> None:
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    with mock.patch("torch.compiler.is_exporting", return_value=True):
        pooled = AdaptiveAverage(bins)(x)
    torch.testing.assert_close(pooled, F.adaptive_avg_pool2d(x, bins), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["small-convnext-upernet", "small-fcn"])
def test_fresh_heads_begin_as_the_official_ones(name: str) -> None:
    model = build(name, num_classes=400)
    assert isinstance(model, StagedSegmentation)
    for head in (model.decode_head, model.auxiliary_head):
        assert isinstance(head, DecodeHead)
        assert head.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert head.conv_seg.bias is not None
        assert not head.conv_seg.bias.any()
        assert head.dropout.p == 0.1
        for conv in (module for module in head.modules() if isinstance(module, nn.Conv2d)):
            if conv is not head.conv_seg:
                fan_out = conv.out_channels * conv.weight[0, 0].numel()
                assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.2)


def test_convnext_gets_a_norm_for_each_stage_and_keeps_its_official_layer_ids() -> None:
    with torch.device("meta"):
        model, classifier = create_model("convnext_tiny_upernet"), create_model("convnext_tiny")
    ids, official = model.layer_ids(), classifier.layer_ids()
    head = max(official.values())
    for name, own in ids.items():
        backbone, _, inner = name.partition(".")
        assert own == (head if backbone != "backbone" or inner.startswith("norm") else official[inner])


def test_the_channels_of_the_head_can_be_fewer() -> None:
    with torch.device("meta"):
        model = create_model("resnet18_upernet", channels=64)
        assert model.forward_features(torch.empty(2, 3, 64, 96)).shape == (2, 64, 16, 24)
        assert create_model("resnet18_upernet", channels=1).num_classes == 150


def test_drop_path_grows_over_the_blocks_of_the_backbone() -> None:
    model = build("small-convnext-upernet", drop_path=0.4)
    rates = [module.drop_prob for module in model.modules() if hasattr(module, "drop_prob")]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@torch.inference_mode()
@pytest.mark.parametrize("name", ["small-fcn", "small-convnext-upernet", "small-resnest-upernet"])
def test_only_the_backbone_and_the_main_head_make_the_prediction(name: str) -> None:
    model = build(name).eval()
    assert isinstance(model, StagedSegmentation)
    x = torch.randn(1, 3, 64, 64)
    expected = model.segment(x)
    nn.init.constant_(model.auxiliary_head.conv_seg.weight, 7.0)
    assert torch.equal(model.segment(x), expected)


@pytest.mark.parametrize("name", ["resnet18_upernet", "resnet18_fcn", "convnext_tiny_upernet"])
def test_logits_are_enlarged_without_aligned_corners_as_in_mmsegmentations_configs(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
    assert isinstance(model, SegmentationModel)
    assert not model.align_corners
