"""A decoder on a backbone: of any family of ours that has stages, and of timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

import convsmith as cs
from convsmith.bundle.segmentation import Segmentation
from convsmith.errors import ConvsmithError
from convsmith.models import bridge, registry
from convsmith.models.decoder import StagedSegmentation
from tests.models.every import maps
from tests.training.scenes import scenes_recipe, write_scenes

OURS = [
    "resnet18_fcn",
    "resnest50_radix1_upernet",
    "convnext_tiny_fcn",
    "hrnet_w18_small_v1_fcn",
    "mobilenet_v2_upernet",
]
TIMM = ["timm/mobilenetv3_large_100_upernet", "timm/test_resnet_fcn", "timm/test_convnext_upernet"]


def decoded(name: str, **options: Any) -> StagedSegmentation:
    with torch.device("meta"):
        model = cs.create_model(name, **options)
    assert isinstance(model, StagedSegmentation)
    return model


def test_each_decoder_is_listed_with_each_family_that_has_stages() -> None:
    names = {"resnet50", "resnest50", "convnext_tiny", "hrnet_w18", "mobilenet_v2", "resnext50_32x4d"}
    assert {f"{name}_{decoder}" for name in names for decoder in ("upernet", "fcn")} <= set(cs.list_models())
    assert not [name for name in cs.list_models() if name.startswith(("cifar", "convnext_iso")) and "_upernet" in name]


def test_a_pattern_that_ends_as_a_decoder_lists_it_on_timms_models() -> None:
    assert cs.list_models("timm/test_conv*t_fcn") == ["timm/test_convnext_fcn"]
    assert cs.list_models("torchvision/*_upernet") == []


@pytest.mark.parametrize("name", [*OURS, *TIMM])
def test_logits_and_segmentation_have_the_wanted_classes(name: str) -> None:
    model = decoded(name, num_classes=7)
    images = torch.empty(2, 3, 64, 96, device="meta")
    assert [logits.shape[:2] for logits in maps(model(images))] == [(2, 7), (2, 7)]
    assert model.segment(images).shape == (2, 7, 64, 96)
    assert [it.shape[1] for it in model.forward_stages(images)][-2:] == list(model.backbone.stage_widths[-2:])


@pytest.mark.parametrize("name", [*OURS, *TIMM])
def test_every_parameter_that_learns_has_a_gradient(name: str) -> None:
    """As training in several processes demands."""
    model = decoded(name)
    sum(logits.sum() for logits in maps(model(torch.empty(2, 3, 64, 64, device="meta")))).backward()  # type: ignore[union-attr]
    assert [key for key, it in model.named_parameters() if it.requires_grad and it.grad is None] == []


@pytest.mark.parametrize("name", ["hrnet_w18_small_v1", "mobilenet_v2", "convnext_tiny"])
def test_weights_of_the_classifier_give_the_backbone(name: str) -> None:
    classifier = cs.create_model(name).state_dict()
    model = cs.create_model(f"{name}_upernet", num_classes=4)
    report = cs.load_weights(model, classifier)
    assert all(key.startswith(("decode_head.", "auxiliary_head.", "backbone.norm")) for key in report.missing)
    assert report.unexpected == ()
    own = {key: value for key, value in model.state_dict().items() if key in report.loaded}
    assert all(torch.equal(value, classifier[key.removeprefix("backbone.")]) for key, value in own.items())


def test_hrnet_upsamples_bilinearly_where_it_segments() -> None:
    usual, nearest = (
        cs.create_model("hrnet_w18_small_v1_upernet", num_classes=3, **options).eval()
        for options in ({}, {"upsample": "nearest"})
    )
    nearest.load_state_dict(usual.state_dict())
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        pairs = zip(maps(usual(images)), maps(nearest(images)), strict=True)
        assert not any(torch.allclose(ours, others, rtol=0.01) for ours, others in pairs)


@pytest.mark.parametrize("name", ["mobilenetv3_large_100", "test_convnext"])
def test_stages_of_timm_are_those_of_features_only(name: str) -> None:
    theirs: Any = timm.create_model(name, features_only=True, feature_cls="getter").eval()
    model = cs.create_model(f"timm/{name}_upernet", num_classes=3, channels=8).eval()
    assert isinstance(model, StagedSegmentation)
    assert model.backbone.stage_widths == tuple(theirs.feature_info.channels()[-4:])
    weights = theirs.model.state_dict()
    report = cs.load_weights(model, weights)
    assert {key.removeprefix("backbone.") for key in report.loaded} == set(weights)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        for own, expected in zip(model.forward_stages(images), theirs(images)[-4:], strict=True):
            assert torch.equal(own, expected)


def test_a_file_of_timms_classifier_gives_the_backbone() -> None:
    theirs = timm.create_model("mobilenetv3_large_100").state_dict()
    report = cs.load_weights(cs.create_model("timm/mobilenetv3_large_100_upernet", num_classes=4), theirs)
    assert all(key.startswith(("decode_head.", "auxiliary_head.")) for key in report.missing)
    assert {key.partition(".")[0] for key in report.dropped} == {"conv_head", "classifier"}


def test_options_of_the_decoder_and_of_its_backbone_are_known() -> None:
    images = torch.empty(2, 3, 64, 64, device="meta")
    assert decoded("resnet18_upernet", channels=24).forward_features(images).shape[1] == 24
    with pytest.raises(
        ConvsmithError, match="no option `head_init_scale`\nIts options are: num_classes, channels, in_"
    ):
        decoded("convnext_tiny_upernet", head_init_scale=1)
    assert decoded("timm/test_resnet_upernet", channels=24, in_channels=1).in_channels == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convnext_isotropic_small_upernet", "`convnext_isotropic_small` has no stages that a decoder could work on"),
        ("torchvision/resnet18_fcn", "`torchvision/resnet18` gives no maps of its stages"),
        ("mobilenetv3_large_100_fcn", "did you mean `timm/mobilenetv3_large_100_fcn`"),
        ("timm/nonesuch_fcn", "timm has no model `nonesuch`"),
    ],
)
def test_what_cannot_be_decoded_says_so(name: str, message: str) -> None:
    with pytest.raises(ConvsmithError, match=message):
        cs.create_model(name)


def test_the_librarys_own_weights_give_no_trained_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    without_network = lambda name, count, _, options: bridge.build(name, count, False, options)  # noqa: E731
    monkeypatch.setattr(registry, "build_bridged", without_network)
    with pytest.raises(ConvsmithError, match="gives `timm/test_resnet_fcn` no head"):
        registry.create_trained_model("timm/test_resnet_fcn", None, "pretrained")


@pytest.mark.parametrize(
    "name", ["test_resnet", "efficientvit_m0"]
)  # the latter's head has no layer once it is left out
def test_a_backbone_of_timm_has_layer_ids_and_no_head(name: str) -> None:
    model = decoded(f"timm/{name}_fcn")
    assert model.backbone.heads == ()
    assert {it.split(".")[0] for it, i in model.layer_ids().items() if i == len(model.block_prefixes())} == {
        "decode_head", "auxiliary_head",
    }  # fmt: skip


def test_a_backbone_of_timm_is_known_as_one() -> None:
    assert registry.backbone_of("timm/test_resnet_fcn") == "timm/test_resnet"


@pytest.mark.slow
def test_a_decoder_on_timm_trains_and_its_bundle_segments(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "scenes")
    words = ("model.name=timm/test_resnet_upernet", "model.options={channels: 8}", "schedule.epochs=2")
    run = cs.train(scenes_recipe(tmp_path, *words, "model.gradient_checkpointing=true"), scenes, tmp_path / "run")
    model = decoded("timm/test_resnet_upernet", channels=8, num_classes=3)
    assert run.plan["params"] == sum(parameter.numel() for parameter in model.parameters())
    answer = cs.load(run.bundle).predict(np.zeros((40, 56, 3), np.uint8))
    assert isinstance(answer, Segmentation)
    assert answer.mask.shape == (40, 56)
