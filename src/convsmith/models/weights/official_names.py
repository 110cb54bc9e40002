"""Checkpoints of other libraries, and of another task, in terms of our models.

Our models have the names of each family's official code. torchvision's ConvNeXt, and timm's ConvNeXt and MobileNetV2,
hold the same tensors under other names, and so do mmpretrain's and mmsegmentation's (open-mmlab); those libraries'
other models of our families agree with ours. A segmentation model with a decode head calls its classifier `backbone`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping

from torch import Tensor

logger = logging.getLogger(__name__)


def to_our_names(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with the names of `own`, a model's state dict, where it is a known layout of that model."""
    if any(name.startswith(_BACKBONE) for name in own):
        backbone = {name.removeprefix(_BACKBONE): value for name, value in own.items() if name.startswith(_BACKBONE)}
        part = {name.removeprefix(_BACKBONE): it for name, it in state.items() if name.startswith(_BACKBONE)}
        if part:  # the rest are its heads
            rest = {name: value for name, value in state.items() if not name.startswith(_BACKBONE)}
            return {f"{_BACKBONE}{name}": value for name, value in to_our_names(part, backbone).items()} | rest
        named = to_our_names(state, backbone)
        return {f"{_BACKBONE}{name}" if name in backbone else name: tensor for name, tensor in named.items()}
    for theirs, ours, rename in _LAYOUTS:
        if theirs in state and ours in own:
            named = {rename(name): tensor for name, tensor in state.items()}
            if "norm3.weight" in named and "norm3.weight" not in own:  # mmpretrain numbers the last norm by its stage
                named = {name.replace("norm3.", "norm."): tensor for name, tensor in named.items()}
            return named
    return dict(state)


def auxiliary_heads(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Entries of `state` for auxiliary heads that the model, which has `own`, was built without; the log says so."""
    lacking = tuple(head for head in _AUXILIARY if not any(name.startswith(head) for name in own))
    found = [name for name in state if name.startswith(lacking)]
    if found:
        advice = "; a model with aux_loss=True takes them" if found[0].startswith("aux_classifier.") else ""
        logger.warning(
            "%d entries of auxiliary heads (%s, ...), which only training needs, are left out%s",
            len(found), found[0], advice,
        )  # fmt: skip
    return found


# In torchvision's GoogLeNet, Inception, FCN and DeepLab.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.", "aux_classifier.")


def around_backbone(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Names that a model of ours, which has `own`, adds to its backbone, and those of `state` in place of them.

    Both are empty if the two have the same head, or the model is none of those that share backbones across tasks.
    """
    for mark, *parts in _AROUND:
        added, theirs = ([name for name in it if name.startswith(tuple(parts))] for it in (own, state))
        if mark == _DECODED:  # whatever a classifier of any family has beside the parts of its backbone
            inside = {name.split(".")[1] for name in own if name.startswith(_BACKBONE)}
            theirs += [it for it in state if not it.startswith((_BACKBONE, *parts)) and it.split(".")[0] not in inside]
        shared = set(added) & set(theirs)
        another = not shared or (shared != set(theirs) and shared != set(added))
        if mark in own and added and another:
            return added, theirs
    return [], []


_BACKBONE = "backbone."
_DECODED = "decode_head.conv_seg.weight"
# A name that all models of a family have, and what its segmentation models and its classifiers add to the backbone.
_AROUND = (
    (
        "stage4.0.branches.0.0.conv1.weight",
        *("last_layer.", "conv3x3_ocr.", "ocr_distri_head.", "cls_head.", "aux_head."),
        *("incre_modules.", "downsamp_modules.", "final_layer.", "classifier."),
    ),
    (_DECODED, "decode_head.", "auxiliary_head.", *(f"backbone.norm{i}." for i in range(4))),
    ("backbone.layer4.0.conv1.weight", "classifier.", "aux_classifier.", "fc."),  # torchvision's
)


def _by(*rules: tuple[str, str]) -> Callable[[str], str]:
    """A renaming by the first rule whose pattern fits the beginning of a name."""

    def rename(name: str) -> str:
        for pattern, new in rules:
            if match := re.match(pattern, name):
                return match.expand(new) + name[match.end() :]
        return name

    return rename


_mm_convnext = _by(
    (r"(stages\.\d+\.\d+)\.depthwise_conv\.", r"\1.dwconv."),
    (r"(stages\.\d+\.\d+)\.pointwise_conv", r"\1.pwconv"),
)

_timm_convnext = _by(
    (r"stem\.", r"downsample_layers.0."),
    (r"stages\.(\d+)\.downsample\.", r"downsample_layers.\1."),
    (r"stages\.(\d+)\.blocks\.(\d+)\.conv_dw\.", r"stages.\1.\2.dwconv."),
    (r"stages\.(\d+)\.blocks\.(\d+)\.mlp\.fc", r"stages.\1.\2.pwconv"),
    (r"stages\.(\d+)\.blocks\.", r"stages.\1."),
    (r"head\.(norm\.)", r"\1"),
    (r"head\.fc\.", r"head."),
)

_torchvision_convnext_parts = _by(
    (r"(stages\.\d+\.\d+)\.layer_scale", r"\1.gamma"),
    (r"(stages\.\d+\.\d+)\.block\.0\.", r"\1.dwconv."),
    (r"(stages\.\d+\.\d+)\.block\.2\.", r"\1.norm."),
    (r"(stages\.\d+\.\d+)\.block\.3\.", r"\1.pwconv1."),
    (r"(stages\.\d+\.\d+)\.block\.5\.", r"\1.pwconv2."),
    (r"classifier\.0\.", r"norm."),
    (r"classifier\.2\.", r"head."),
)


def _torchvision_convnext(name: str) -> str:
    # Stem and downsampling are the even entries of one list, the stages its odd ones.
    def half(match: re.Match[str]) -> str:
        index = int(match[1])
        return f"{'stages' if index % 2 else 'downsample_layers'}.{index // 2}."

    return _torchvision_convnext_parts(re.sub(r"^features\.(\d+)\.", half, name))


_FIRST_OF_STAGE = (1, 2, 4, 7, 11, 14, 17)  # where the blocks of each of timm's stages begin in our one list

_timm_mobilenet_parts = _by(
    (r"conv_stem\.", r"features.0.0."),
    (r"bn1\.", r"features.0.1."),
    (r"conv_head\.", r"features.18.0."),
    (r"bn2\.", r"features.18.1."),
    (r"classifier\.", r"classifier.1."),
    # The first block does not expand: its depthwise convolution comes first.
    (r"(features\.1\.conv)\.conv_dw\.", r"\1.0.0."),
    (r"(features\.1\.conv)\.bn1\.", r"\1.0.1."),
    (r"(features\.1\.conv)\.conv_pw\.", r"\1.1."),
    (r"(features\.1\.conv)\.bn2\.", r"\1.2."),
    (r"(features\.\d+\.conv)\.conv_pw\.", r"\1.0.0."),
    (r"(features\.\d+\.conv)\.bn1\.", r"\1.0.1."),
    (r"(features\.\d+\.conv)\.conv_dw\.", r"\1.1.0."),
    (r"(features\.\d+\.conv)\.bn2\.", r"\1.1.1."),
    (r"(features\.\d+\.conv)\.conv_pwl\.", r"\1.2."),
    (r"(features\.\d+\.conv)\.bn3\.", r"\1.3."),
)


def _timm_mobilenet(name: str) -> str:
    def flat(match: re.Match[str]) -> str:
        stage, block = int(match[1]), int(match[2])
        return f"features.{_FIRST_OF_STAGE[stage] + block}.conv."

    return _timm_mobilenet_parts(re.sub(r"^blocks\.([0-6])\.(\d+)\.", flat, name))


_mm_mobilenet_parts = _by(
    (r"conv1\.conv\.", r"features.0.0."),
    (r"conv1\.bn\.", r"features.0.1."),
    (r"conv2\.conv\.", r"features.18.0."),
    (r"conv2\.bn\.", r"features.18.1."),
    (r"(features\.1\.conv)\.1\.conv\.", r"\1.1."),
    (r"(features\.1\.conv)\.1\.bn\.", r"\1.2."),
    (r"(features\.\d+\.conv\.[01])\.conv\.", r"\1.0."),
    (r"(features\.\d+\.conv\.[01])\.bn\.", r"\1.1."),
    (r"(features\.\d+\.conv)\.2\.conv\.", r"\1.2."),
    (r"(features\.\d+\.conv)\.2\.bn\.", r"\1.3."),
)


def _mm_mobilenet(name: str) -> str:
    def flat(match: re.Match[str]) -> str:
        return f"features.{_FIRST_OF_STAGE[int(match[1]) - 1] + int(match[2])}."

    return _mm_mobilenet_parts(re.sub(r"^layer([1-7])\.(\d+)\.", flat, name))


_children_of_resnet = _by(  # as nn.Sequential numbers them, often without the last ones
    (r"0\.", r"conv1."),
    (r"1\.", r"bn1."),
    *((rf"{stage + 3}\.", f"layer{stage}.") for stage in (1, 2, 3, 4)),
    (r"9\.", r"fc."),
)

# A name that only their layout has, one that only our model has, and what makes theirs ours.
_LAYOUTS: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("stages.0.blocks.0.conv_dw.weight", "stages.0.0.dwconv.weight", _timm_convnext),
    ("features.1.0.block.0.weight", "stages.0.0.dwconv.weight", _torchvision_convnext),
    ("blocks.0.0.conv_dw.weight", "features.1.conv.0.0.weight", _timm_mobilenet),
    ("stages.0.0.depthwise_conv.weight", "stages.0.0.dwconv.weight", _mm_convnext),
    ("layer1.0.conv.0.conv.weight", "features.1.conv.0.0.weight", _mm_mobilenet),
    ("4.0.conv1.weight", "layer1.0.conv1.weight", _children_of_resnet),
)
