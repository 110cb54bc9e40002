"""What every model offers: layer ids, sizes, channels, new heads."""

from __future__ import annotations

from math import ceil, floor

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from convsmith.errors import ConvsmithError
from convsmith.models.base import ImageClassifier, SegmentationModel, VisionModel
from convsmith.models.decoder import StagedSegmentation
from convsmith.models.families.convnext import ConvNeXt
from convsmith.models.families.hrnet import HRNetBackbone
from convsmith.models.families.resnet import ResNet
from convsmith.models.families.upernet import UPerNet
from convsmith.models.weights.load import load_weights
from tests.models.every import (
    SMALLEST,
    assert_same,
    build,
    computed_models,
    images,
    maps,
    shared,
    smallest_models,
    without_memory,
)
from tests.models.golden import golden

# Layer ids


@smallest_models
def test_layer_ids_rise_from_the_stem_to_the_head(name: str) -> None:
    model = without_memory(name)
    ids, prefixes = model.layer_ids(), model.block_prefixes()
    assert list(ids) == [name for name, _ in model.named_parameters()]
    assert all(any(key.startswith(prefix) for key in ids) for block in prefixes for prefix in block)
    assert all(prefix.endswith(".") for block in prefixes for prefix in block)

    seen: list[int] = []
    for path, module in model.named_modules():
        if own := {ids[f"{path}.{key}"] for key, _ in module.named_parameters(recurse=False)}:
            assert len(own) == 1
            module.register_forward_pre_hook(lambda _, __, own=own: seen.extend(own))
    side = max(model.smallest_side, 8)
    model(torch.empty(2, 3, side, side, device="meta"))
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert ids[f"{model.input_layer}.weight"] == 0
    assert {ids[f"{head}.weight"] for head in model.heads} == {len(prefixes)}


OFFICIAL_IDS: dict[str, dict[str, int]] = golden("convnext_layer_ids")["ids"]


@pytest.mark.parametrize(
    ("name", "official"),
    [("convnext_tiny", "convnext_tiny")]
    + [(f"convnext_{size}", "convnext_base") for size in ("small", "base", "large", "xlarge")],
)
def test_layer_ids_of_convnext_are_the_official_ones(name: str, official: str) -> None:
    assert without_memory(name).layer_ids() == OFFICIAL_IDS[official]


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("cifar_resnet20", 9),
        ("resnet50", 16),
        ("resnest269", 89),
        ("mobilenet_v2", 17),
        ("convnext_isotropic_small", 18),
        ("hrnet_w18", 4 + 1 + 4 + 3),
        ("hrnet_w48_ocr", 4 + 1 + 4 + 3),
        ("resnet50_fcn", 16),
        ("resnest50_upernet", 16),
    ],
)
def test_the_stem_and_each_block_have_an_id_of_their_own(name: str, blocks: int) -> None:
    assert set(without_memory(name).layer_ids().values()) == set(range(1 + blocks + 1))


# What goes in, what comes out


@smallest_models
@pytest.mark.parametrize("channels", [1, 5])
def test_images_of_any_channels_and_size_become_logits(name: str, channels: int) -> None:
    model = without_memory(name, in_channels=channels, num_classes=7)
    assert model.in_channels == channels
    s = model.smallest_side
    height, width = s + 6, s + 60
    output = maps(model(torch.empty(2, channels, height, width, device="meta")))
    # ConvNeXt's convolutions leave out the pixels that are too few for a stride.
    rounded = floor if isinstance(getattr(model, "backbone", None), ConvNeXt) else ceil
    sizes: list[tuple[int, int]] = [
        (rounded(height / stride), rounded(width / stride)) for stride in strides_of_logits(model)
    ]
    expected: list[tuple[int, ...]] = [(2, 7, *size) for size in sizes] or [(2, 7)]
    assert [tuple(logits.shape) for logits in output] == expected


@computed_models
def test_weights_for_rgb_answer_grey_images_alike_through_one_channel(name: str) -> None:
    model, grey = build(name, num_classes=5, in_channels=1).eval(), images()[:, :1]
    report = load_weights(model, shared(name).state_dict())
    assert report.reshaped == (f"{model.input_layer}.weight",)
    with torch.inference_mode():
        assert_same(model(grey), shared(name)(grey.expand(-1, 3, -1, -1)))


@computed_models
@pytest.mark.parametrize("channels", [4, 5])
def test_weights_for_rgb_serve_more_channels(name: str, channels: int) -> None:
    model = build(name, num_classes=5, in_channels=channels).eval()
    load_weights(model, shared(name).state_dict())
    first, given = (it.state_dict()[f"{model.input_layer}.weight"] for it in (model, shared(name)))
    assert torch.equal(first, given.repeat(1, 2, 1, 1)[:, :channels] * (3 / channels))
    with torch.inference_mode():
        assert all(it.isfinite().all() for it in maps(model(images().repeat(1, 2, 1, 1)[:, :channels])))


def strides_of_logits(model: VisionModel) -> list[int]:
    if isinstance(model, UPerNet):
        return [16, 4]
    if isinstance(model, StagedSegmentation):
        return [8, 8] if isinstance(model.backbone, ResNet) else [16, 32]
    return [4] * len(model.heads) if isinstance(model, SegmentationModel) else []


@computed_models
@torch.inference_mode()
def test_odd_and_tiny_images_give_finite_logits(name: str) -> None:
    model = shared(name)
    s = model.smallest_side
    for height, width in [(s, s), (s, s + 1), (s + 33, s + 14)]:
        assert all(logits.isfinite().all() for logits in maps(model(images(2, height, width))))


@smallest_models
def test_images_that_do_not_fit_are_errors_that_say_why(name: str) -> None:
    model = without_memory(name)
    s = model.smallest_side

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta")

    with pytest.raises(ConvsmithError, match=r"\[3, 64, 64\] is not a batch of images: the model takes \[N, 3, H, W\]"):
        model(empty(3, 64, 64))
    with pytest.raises(ConvsmithError, match=r"takes 3 channels, the images have 1\nCreate it with in_channels=1\."):
        model(empty(2, 1, 64, 64))
    with pytest.raises(ConvsmithError, match="takes normalised images, not uint8 values\nNormalise them first"):
        model(empty(2, 3, 64, 64).byte())
    for height, width in [(s - 1, 64), (64, s - 1)]:
        with pytest.raises(ConvsmithError, match=f"of {height}x{width} pixels are too small"):
            model(empty(2, 3, height, width))


@smallest_models
def test_reset_head_changes_the_heads_and_nothing_else(name: str) -> None:
    model = without_memory(name)
    before = dict(model.named_parameters())
    model.reset_head(3)
    after = dict(model.named_parameters())
    heads = tuple(f"{head}." for head in model.heads)
    assert list(after) == list(before)
    assert all((after[key] is before[key]) != key.startswith(heads) for key in after)
    assert model.num_classes == 3
    assert {logits.shape[1] for logits in maps(model(torch.empty(2, 3, 64, 64, device="meta")))} == {3}


def spread_of_heads(model: VisionModel) -> list[float]:
    heads = tuple(f"{head}." for head in model.heads)
    return [parameter.std().item() for key, parameter in model.named_parameters() if key.startswith(heads)]


@pytest.mark.parametrize("name", sorted(SMALLEST | {"hrnet_w18_seg"}))
def test_a_new_head_begins_as_that_of_a_new_model(name: str) -> None:
    model = build(name, num_classes=200)
    of_new_model = spread_of_heads(model)
    model.reset_head(200)
    assert spread_of_heads(model) == pytest.approx(of_new_model, rel=0.15)


@computed_models
@torch.inference_mode()
def test_features_are_what_the_head_sees(name: str) -> None:
    model = shared(name)
    features = model.forward_features(images())
    if isinstance(model, ImageClassifier):
        assert torch.equal(model.get_submodule(model.heads[-1])(features), model(images()))
    elif isinstance(model, HRNetBackbone):
        assert features.shape == (2, sum(model.channels), 16, 16)
    else:
        assert torch.equal(model.get_submodule(model.heads[-1])(features), maps(model(images()))[-1])


@computed_models
@torch.inference_mode()
def test_a_segmentation_is_the_last_map_at_the_images_own_size(name: str) -> None:
    model = shared(name)
    if isinstance(model, SegmentationModel):
        x = images(2, 65, 78)
        logits = maps(model(x))[-1]
        expected = F.interpolate(logits, (65, 78), mode="bilinear", align_corners=model.align_corners)
        assert torch.equal(model.segment(x), expected)
