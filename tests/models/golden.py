"""Deterministic weights and inputs that the golden numbers were made with."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.models.base import VisionModel
from convsmith.models.registry import create_model
from convsmith.models.weights.load import load_weights

GOLDENS = Path(__file__).parents[1] / "goldens"

# Our name and options of each model that official numbers are kept of; a family adds its own lines.
OFFICIAL: dict[str, tuple[str, dict[str, Any]]] = {
    "cifar_resnet20": ("cifar_resnet20", {}),
    "cifar_resnet56": ("cifar_resnet56", {}),
    "resnet18": ("resnet18", {}),
    "resnet50": ("resnet50", {}),
    "resnet101": ("resnet101", {}),
    "resnext50_32x4d": ("resnext50_32x4d", {}),
    "wide_resnet50_2": ("wide_resnet50_2", {}),
    "cls_hrnet_w18": ("hrnet_w18", {}),
    "cls_hrnet_w18_small_v1": ("hrnet_w18_small_v1", {}),
    "cls_hrnet_w18_small_v2": ("hrnet_w18_small_v2", {}),
    "cls_hrnet_w48": ("hrnet_w48", {}),
    "seg_hrnet_w48": ("hrnet_w48_seg", {}),
    "seg_hrnet_ocr_w48": ("hrnet_w48_ocr", {}),
    "upernet_convnext_tiny": ("convnext_tiny_upernet", {}),
    "upernet_r18b": ("resnet18_upernet", {}),
    "fcn_r18b_d8": ("resnet18_fcn", {}),
    "fcn_r50b_d8": ("resnet50_fcn", {}),
    "mobilenet_v2": ("mobilenet_v2", {}),
    "convnext_tiny": ("convnext_tiny", {}),
    "convnext_small": ("convnext_small", {}),
    "convnext_base_21841": ("convnext_base", {"num_classes": 21841}),
    "convnext_isotropic_small": ("convnext_isotropic_small", {}),
    "resnest50": ("resnest50", {}),
    "resnest101": ("resnest101", {}),
    "resnest200": ("resnest200", {}),
    "resnest50_radix1": ("resnest50_radix1", {}),
    "resnest50_fast_1s1x64d": ("resnest50_fast_1s1x64d", {}),
    "resnest50_fast_2s1x64d": ("resnest50_fast_2s1x64d", {}),
}


def golden(name: str) -> dict[str, Any]:
    """Numbers of the official code."""
    content: dict[str, Any] = json.loads((GOLDENS / f"{name}.json").read_text())
    return content


def ours(name: str) -> VisionModel:
    """Our model of a golden file, with random initial weights."""
    model_name, options = OFFICIAL[name]
    return create_model(model_name, **options)


def official(name: str) -> VisionModel:
    """Our model with the weights that the golden file was made with, in evaluation mode."""
    model = not_initialised(lambda: ours(name))
    report = load_weights(model, filled_state_dict(golden(name)["keys"]))
    assert not report.missing
    return model.eval()


def not_initialised(build: Callable[[], VisionModel]) -> VisionModel:
    """A model whose weights are still to come, without the time that random ones take; buffers are zero."""
    with torch.device("meta"):
        model = build()
    model.to_empty(device="cpu")
    for buffer in model.buffers():
        buffer.zero_()
    return model


def filled(build: Callable[[], VisionModel]) -> VisionModel:
    """A model in evaluation mode with no branch near zero, so that an error in any of them shows in the logits."""
    model = not_initialised(build)
    model.load_state_dict(filled_state_dict([(key, list(value.shape)) for key, value in model.state_dict().items()]))
    return model.eval()


def in_training(name: str) -> VisionModel:
    """That model for a training step in float64, without dropout."""
    model = official(name).double().train()
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    return model


def training_loss(logits: Tensor | list[Tensor], expected: dict[str, Any]) -> Tensor:
    """Mean cross-entropy over images, or over the pixels of logits brought to the images' size."""
    if isinstance(logits, list):
        auxiliary, main = (training_loss(own, expected) for own in logits)
        weight: float = expected["train"]["auxiliary_weight"]
        return main + weight * auxiliary
    if "align_corners" not in expected:
        return F.cross_entropy(logits, torch.tensor(expected["train"]["labels"]))
    count, _, height, width = expected["input_shape"]
    logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=expected["align_corners"])
    targets = (torch.arange(height * width) % logits.shape[1]).view(1, height, width).expand(count, -1, -1)
    return F.cross_entropy(logits, targets)


def filled_state_dict(keys: list[tuple[str, list[int]]]) -> dict[str, Tensor]:
    """A value for every entry, which depends on nothing but its official name and shape."""
    return {name: _fill(name, tuple(shape)) for name, shape in keys}


def _fill(name: str, shape: tuple[int, ...]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_mean"):
        value = 0.1 * noise
    elif name.endswith("running_var"):
        value = 1 + 0.1 * np.abs(noise)
    elif len(shape) >= 2:
        value = noise / float(np.sqrt(np.prod(shape[1:])))
        if ".branches." in name or ".fuse_layers." in name:
            value *= 0.6
    elif name.endswith(".bias"):
        value = 0.1 * noise
    else:
        value = (1 + 0.1 * noise) * (0.2 if name.endswith(".bn3.weight") else 1.0)
    return torch.from_numpy(np.asarray(value, np.float32))


def golden_input(shape: list[int], scale: float = 1.0) -> Tensor:
    """The input image of a golden file."""
    return torch.from_numpy(np.random.RandomState(0).standard_normal(shape).astype(np.float32) * np.float32(scale))


def assert_output(output: Tensor, expected: dict[str, Any], tolerance: float) -> None:
    """Compare an output with the figures that a golden file keeps of it."""
    assert list(output.shape) == expected["shape"]
    flat = output.detach().double().flatten(1)
    first = torch.tensor(expected["first16"], dtype=torch.float64)
    torch.testing.assert_close(flat[:, : first.shape[1]], first, atol=tolerance, rtol=0)
    if "probe64" in expected:
        positions = [j * flat.shape[1] // 64 for j in range(64)]
        probe = torch.tensor(expected["probe64"], dtype=torch.float64)
        torch.testing.assert_close(flat[:, positions], probe, atol=tolerance, rtol=0)
    assert abs(flat.mean().item() - expected["mean"]) <= tolerance
    assert abs(flat.std(correction=0).item() - expected["std"]) <= tolerance
    assert abs(flat.abs().sum().item() - expected["abs_sum"]) / flat.numel() <= tolerance


def assert_outputs(output: Tensor | list[Tensor], expected: dict[str, Any]) -> None:
    """Compare all that a model returned, logits or [auxiliary, main] logits, with a record of a golden file."""
    maps = [output] if isinstance(output, Tensor) else output
    assert len(maps) == 1 + ("eval_aux" in expected)
    assert_output(maps[-1], expected["eval"], expected["eval_tol"])
    if "eval_aux" in expected:
        assert_output(maps[0], expected["eval_aux"], expected["eval_aux_tol"])
