"""Any image model of timm and torchvision by name: `timm/NAME`, `torchvision/NAME`."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

import torch

from convsmith.errors import ConvsmithError, did_you_mean, missing_package, plain
from convsmith.models.other_libraries import (
    BridgedModel,
    TimmClassifier,
    TorchvisionClassifier,
    TorchvisionSegmentation,
)
from convsmith.models.weights.load import load_weights


def is_bridged(name: str) -> bool:
    """Whether `name` begins as those of another library's models do."""
    return name.partition("/")[0] in _LIBRARIES and "/" in name


def gives_stages(name: str) -> bool:
    """Whether the library that `name` is of tells the stages of its models."""
    return name.startswith("timm/")


def list_bridged(pattern: str) -> list[str]:
    """Names that match a shell pattern such as `timm/resnet*`, sorted.

    Raises:
        ConvsmithError: the library is not installed.
    """
    library = pattern.partition("/")[0]
    return fnmatch.filter((f"{library}/{name}" for name in _names(library)), pattern)


def called_so(name: str) -> list[str]:
    """Models of the libraries that are installed by a name without its library, whatever its capitals and dashes."""
    found = []
    for library in _LIBRARIES:
        with suppress(ConvsmithError):  # it is not installed
            found += [f"{library}/{other}" for other in _names(library) if plain(other) == plain(name)]
    return found


def build(name: str, num_classes: int | None, pretrained: bool, options: Mapping[str, Any]) -> BridgedModel:
    """The model `LIBRARY/NAME`.

    Args:
        name: one of `list_bridged`; of timm with or without the tag of its weights.
        num_classes: number of logits; None keeps the library's default.
        pretrained: with the library's own weights, which it downloads.
        options: keyword arguments for the library's builder, and `in_channels`.

    Raises:
        ConvsmithError: the library is missing, or refuses the name or an option, or the weights cannot be had.
    """
    library, _, inner = name.partition("/")
    known = _names(library)
    if inner.partition(".")[0] not in known:
        raise ConvsmithError(
            f"{library} has no model `{inner}`{did_you_mean(inner, known)}",
            fix=f"`convsmith models '{library}/*'` lists them.",
        )
    if "pretrained" in options:
        raise ConvsmithError(f"`pretrained` is not an option of `{name}`", fix="Ask for weights: `pretrained`.")
    try:
        return _LIBRARIES[library](inner, num_classes, pretrained, dict(options))
    except OSError as error:
        raise ConvsmithError(
            f"the weights of `{name}` cannot be had from {library}",
            str(error).split("\n")[0],
            "They need the network; without it, pass the path of a checkpoint file as weights.",
        ) from error
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "no options"
        raise ConvsmithError(f"{library} cannot build `{inner}` with {given}", str(error)) from error


def _timm(name: str, num_classes: int | None, pretrained: bool, options: dict[str, Any]) -> BridgedModel:
    in_channels = options.pop("in_channels", options.pop("in_chans", 3))
    timm = _imported("timm")
    try:
        has_weights = timm.models.get_pretrained_cfg(name).has_weights
    except RuntimeError as error:
        raise ConvsmithError(f"timm knows no weights `{name}`", str(error)) from error
    if pretrained and not has_weights:
        raise ConvsmithError(f"timm has no weights of `{name}`", fix="Train it from random initial weights.")
    # timm leaves out what is None
    model = timm.create_model(
        name, pretrained, num_classes=num_classes, in_chans=None if in_channels == 3 else in_channels, **options
    )
    if not getattr(model, "num_classes", 0) or not hasattr(model, "get_classifier"):
        raise ConvsmithError(
            f"`timm/{name}` has no layer that gives logits", "it was made for features", "Pass num_classes."
        )
    return TimmClassifier(model, in_channels)


def _torchvision(name: str, num_classes: int | None, pretrained: bool, options: dict[str, Any]) -> BridgedModel:
    models = _imported("torchvision").models
    in_channels = options.pop("in_channels", 3)
    segments = name in models.list_models(module=models.segmentation)
    if options.get("aux_logits"):
        raise ConvsmithError(f"`torchvision/{name}` is trained with its main logits alone", fix="Leave out aux_logits.")
    if name in ("googlenet", "inception_v3"):
        options.setdefault("transform_input", True)  # else only with weights by name, and a checkpoint would not fit
    if pretrained:
        options["weights"] = "DEFAULT"
    else:
        if num_classes is not None:
            options["num_classes"] = num_classes
        if segments:
            options.setdefault("weights_backbone", None)  # which would be downloaded
        if name in ("googlenet", "inception_v3"):
            options.setdefault("init_weights", True)  # the default, of which torchvision warns
    with torch.device("cpu"):  # RegNet computes its widths with tensors
        model = models.get_model(name, **options)
    for part in ("aux1", "aux2", "AuxLogits"):  # of GoogLeNet and Inception
        if hasattr(model, part):
            setattr(model, part, None)
            model.aux_logits = False
    if segments and not options.get("aux_loss"):
        model.aux_classifier = None  # which weights by name bring along
    bridged = TorchvisionSegmentation(model, 3) if segments else TorchvisionClassifier(model, 3)
    weights = bridged.state_dict()
    if num_classes not in (None, bridged.num_classes):
        bridged.reset_head(num_classes)
    if in_channels != 3:
        bridged.widen_input(in_channels)
        if pretrained:
            load_weights(bridged, weights)
    return bridged.to(torch.get_default_device())


_LIBRARIES: dict[str, Callable[[str, int | None, bool, dict[str, Any]], BridgedModel]] = {
    "timm": _timm,
    "torchvision": _torchvision,
}


def _imported(library: str) -> ModuleType:
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        raise missing_package(error) or error from error


def _names(library: str) -> list[str]:
    """Models of images, by the library's names."""
    if library == "timm":
        return list(_imported("timm").list_models())
    models = _imported("torchvision").models
    return sorted(models.list_models(module=models) + models.list_models(module=models.segmentation))
