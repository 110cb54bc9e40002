"""Any image model of timm and torchvision by name: `timm/NAME`, `torchvision/NAME`."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import torch

from convsmith.errors import ConvsmithError, did_you_mean, missing_package, plain
from convsmith.hub import OFFLINE, is_offline, keep_hub_offline
from convsmith.models.other_libraries import (
    BridgedModel,
    TimmClassifier,
    TorchvisionClassifier,
    TorchvisionSegmentation,
)
from convsmith.models.weights.bar import download_bar
from convsmith.models.weights.download import download
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
    return fnmatch.filter((f"{library}/{name}" for name in model_names(library)), pattern)


def called_so(name: str) -> list[str]:
    """Models of the libraries that are installed by a name without its library, whatever its capitals and dashes."""
    found = []
    for library in _LIBRARIES:
        with suppress(ConvsmithError):  # it is not installed
            found += [f"{library}/{other}" for other in model_names(library) if plain(other) == plain(name)]
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
    known = model_names(library)
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
            OFFLINE if is_offline() else str(error).split("\n")[0],
            f"Where there is a network, `convsmith weights fetch {name}` brings them. Or {_by_hand(library, inner)}.",
        ) from error
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "no options"
        raise ConvsmithError(f"{library} cannot build `{inner}` with {given}", str(error)) from error


def _by_hand(library: str, name: str) -> str:
    """How else to get the weights of a model, with their address where its library says that they are on the Hub."""
    hub = imported(library).models.get_pretrained_cfg(name).hf_hub_id if library == "timm" else None
    if not hub:
        return "pass the path of a checkpoint file as weights"
    file = f"https://huggingface.co/{hub}/resolve/main/model.safetensors"
    return f"get {file} by other means and pass the path of that file as weights"


def _timm(name: str, num_classes: int | None, pretrained: bool, options: dict[str, Any]) -> BridgedModel:
    in_channels = options.pop("in_channels", options.pop("in_chans", 3))
    timm = imported("timm")
    try:
        config = timm.models.get_pretrained_cfg(name)
        has_weights = config is not None and config.has_weights
    except RuntimeError as error:
        raise ConvsmithError(f"timm knows no weights `{name}`", str(error)) from error
    if pretrained and not has_weights:
        raise ConvsmithError(f"timm has no weights of `{name}`", fix="Train it from random initial weights.")
    if pretrained and not config.hf_hub_id:
        _bring(config.url, None)
    elif pretrained and is_offline():
        keep_hub_offline()
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
    models = imported("torchvision").models
    name, _, tag = name.partition(".")
    in_channels = options.pop("in_channels", 3)
    segments = name in models.list_models(module=models.segmentation)
    if options.get("aux_logits"):
        raise ConvsmithError(f"`torchvision/{name}` is trained with its main logits alone", fix="Leave out aux_logits.")
    if name in ("googlenet", "inception_v3"):
        options.setdefault("transform_input", True)  # else only with weights by name, and a checkpoint would not fit
    if pretrained:
        weights_of_name = torchvision_weights(name, tag)
        options["weights"] = weights_of_name.name
        digits = re.search("-([0-9a-f]{8,64})[.]", weights_of_name.url)
        _bring(weights_of_name.url, digits and digits[1])
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
        if hasattr(model, "transform_input"):
            model.transform_input = False  # of GoogLeNet and Inception, which take red, green and blue apart for it
        bridged.widen_input(in_channels)
        if pretrained:
            load_weights(bridged, weights)
    return bridged.to(torch.get_default_device())


def fetched(name: str) -> Path:
    """The file of the weights of the model `LIBRARY/NAME`, once the library has downloaded it.

    Raises:
        ConvsmithError: there are none, or they cannot be had.
    """
    build(name, None, True, {})
    library, _, inner = name.partition("/")
    if library == "torchvision":
        return _in_hub_of_torch(torchvision_weights(*inner.split(".")).url)
    config = imported("timm").models.get_pretrained_cfg(inner)
    if not config.hf_hub_id:
        return _in_hub_of_torch(config.url)
    from huggingface_hub import scan_cache_dir

    (found,) = (it for it in scan_cache_dir().repos if it.repo_id == config.hf_hub_id)
    return Path(found.repo_path)


def _in_hub_of_torch(url: str) -> Path:
    """Where torch keeps what it downloads from there."""
    return Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(url).name


def _bring(url: str, sha256: str | None) -> None:
    """Download a file to where torch looks for it, unless it is there.

    torch itself would wait for ever, begin anew after a break, and not say where the file belongs.

    Raises:
        ConvsmithError: it cannot be had.
    """
    file = _in_hub_of_torch(url)
    with download_bar(file.name) as shown:
        download(url, file, sha256, shown)


def torchvision_weights(name: str, tag: str = "") -> Any:
    """The entry of torchvision's table for the weights of a model; without a tag, those that it calls the best.

    Raises:
        ConvsmithError: torchvision is not installed, or has no such weights.
    """
    known = imported("torchvision").models.get_model_weights(name).__members__
    tag = tag or "DEFAULT"
    if tag not in known:
        raise ConvsmithError(
            f"torchvision has no weights `{name}.{tag}`{did_you_mean(tag, known)}",
            fix=f"It has {', '.join(it for it in known if it != 'DEFAULT') or 'none of this model'}.",
        )
    return known[tag]


_LIBRARIES: dict[str, Callable[[str, int | None, bool, dict[str, Any]], BridgedModel]] = {
    "timm": _timm,
    "torchvision": _torchvision,
}


def imported(library: str) -> ModuleType:
    """The library itself.

    Raises:
        ConvsmithError: it is not installed.
    """
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        raise missing_package(error) or error from error


def model_names(library: str) -> list[str]:
    """Models of images, by the library's names.

    Raises:
        ConvsmithError: it is not installed.
    """
    if library == "timm":
        return list(imported("timm").list_models())
    models = imported("torchvision").models
    return sorted(models.list_models(module=models) + models.list_models(module=models.segmentation))
