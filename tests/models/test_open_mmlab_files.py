"""Files of mmpretrain and mmsegmentation, and backbones that go from one task to another."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from convsmith.models.registry import create_model
from convsmith.models.weights.load import load_weights

State = dict[str, Tensor]


def filled(name: str, classes: int = 5) -> State:
    """Each entry with a value of its own."""
    with torch.device("meta"):
        known = create_model(name, num_classes=classes).state_dict()
    return {key: torch.full(value.shape, float(i + 1)) for i, (key, value) in enumerate(known.items())}


def loads(name: str, file: State, classes: int = 5) -> State:
    """What a model holds after loading, its own first values being 0."""
    with torch.device("meta"):
        model = create_model(name, num_classes=classes)
    model.to_empty(device="cpu")
    for value in model.state_dict().values():
        value.zero_()
    report = load_weights(model, {"meta": {"epoch": 3}, "state_dict": file})
    assert report.unexpected == ()
    return model.state_dict()


def renamed(state: State, *rules: tuple[str, str]) -> State:
    named = {}
    for name, value in state.items():
        for pattern, new in rules:
            name, done = re.subn(f"^{pattern}", new, name)
            if done:
                break
        named[name] = value
    return named


def mm_convnext(state: State) -> State:
    parts = {"dwconv": "depthwise_conv", "pwconv1": "pointwise_conv1", "pwconv2": "pointwise_conv2"}
    inner = {re.sub("dwconv|pwconv[12]", lambda part: parts[part[0]], name): it for name, it in state.items()}
    return renamed(
        inner, (r"head\.", "head.fc."), (r"norm\.", "backbone.norm3."), (r"(?!backbone|.*_head)", "backbone.")
    )


def mm_mobilenet(state: State) -> State:
    """Blocks by stage, and convolutions and BatchNorms by name, where ours are numbered."""
    starts = (1, 2, 4, 7, 11, 14, 17)
    named = {}
    for name, value in state.items():
        part, block, *inside, leaf = name.split(".")
        layer = sum(start <= int(block) for start in starts)
        last = 1 if block == "1" else 2
        if part == "classifier":
            new = "head.fc"
        elif block in ("0", "18"):
            new = f"backbone.conv{1 if block == '0' else 2}.{'conv' if inside == ['0'] else 'bn'}"
        else:
            kind = "conv" if inside[2:] == ["0"] or inside[1:] == [str(last)] else "bn"
            number = min(int(inside[1]), last)
            new = f"backbone.layer{layer}.{int(block) - starts[layer - 1]}.conv.{number}.{kind}"
        named[f"{new}.{leaf}"] = value
    return named


def mm_resnet(state: State) -> State:
    return renamed(state, (r"fc\.", "head.fc."), ("", "backbone."))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("resnet18", mm_resnet),
        ("convnext_tiny", mm_convnext),
        ("mobilenet_v2", mm_mobilenet),
        ("convnext_tiny_upernet", mm_convnext),
        ("resnet18_fcn", dict),
    ],
)
def test_a_file_of_open_mmlab_fills_our_model(name: str, written: Callable[[State], State]) -> None:
    expected = filled(name)
    loaded = loads(name, written(expected))
    assert [key for key in expected if not torch.equal(loaded[key], expected[key])] == []


@pytest.mark.parametrize(
    ("given", "name", "head"),
    [
        ("hrnet_w18_seg", "hrnet_w18_ocr", r"(conv3x3_ocr|ocr_distri_head|cls_head|aux_head)\."),
        ("hrnet_w18_ocr", "hrnet_w18_seg", r"last_layer\."),
        ("hrnet_w18_seg", "hrnet_w18", r"(incre_modules|downsamp_modules|final_layer|classifier)\."),
        ("resnet18_upernet", "resnet18_fcn", r"(decode|auxiliary)_head\."),
        ("resnet18_fcn", "resnet18_upernet", r"(decode|auxiliary)_head\."),
        ("resnet18_fcn", "resnet18", r"fc\."),
        ("resnet50", "torchvision/deeplabv3_resnet50", r"classifier\."),
    ],
)
def test_a_model_with_another_head_gives_its_backbone(
    given: str, name: str, head: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        loaded = loads(name, filled(given))
    untouched = [key for key, value in loaded.items() if not value.any()]
    assert untouched == [key for key in loaded if re.match(head, key)]
    assert "own head" in caplog.text
